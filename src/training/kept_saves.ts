import { existsSync } from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

const NAME = /^step-(\d{6,})$/;

/**
 * The saves before `latest/` that a run keeps, in folders named by their steps. To continue from one of them, its folder is
 * renamed to `latest`.
 */
export class KeptSaves {
  /** The step of `latest/`; undefined without it. */
  private latest?: number;

  /** @param folder folder of the run @param count number of saves that are kept, with `latest/` */
  constructor(
    private readonly folder: string,
    private readonly count: number,
  ) {}

  /** The path that `latest/` gets when the next save replaces it; undefined if it is not kept. */
  get next(): string | undefined {
    if (this.count === 1 || this.latest === undefined) return undefined;
    return join(this.folder, `step-${String(this.latest).padStart(6, '0')}`);
  }

  /** Notes the step of a `latest/` that was written or found, and removes the oldest saves that exceed the count. */
  async add(step: number): Promise<void> {
    this.latest = step;
    for (const name of (await this.names()).slice(this.count - 1)) {
      await rm(join(this.folder, name), { recursive: true, force: true });
    }
  }

  /** Makes the newest of them `latest/` if that is missing: the process ended while it was replaced. */
  async recover(latest: string): Promise<void> {
    const [newest] = await this.names();
    if (newest !== undefined && !existsSync(latest)) await rename(join(this.folder, newest), latest);
  }

  /** Names of the folders, the newest first. */
  private async names(): Promise<string[]> {
    const names = (await readdir(this.folder)).filter(name => NAME.test(name));
    return names.sort((a, b) => Number(NAME.exec(b)![1]) - Number(NAME.exec(a)![1]));
  }
}
