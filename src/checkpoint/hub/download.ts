import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeError } from '../../files/errors.ts';
import { writeAll } from '../../files/write.ts';
import { type HubClient, HubError, type HubFile } from './client.ts';

/** Tries in a row without getting further than before, after which a download is given up. */
const fruitlessTries = 5;

/**
 * Downloads a file of a repository. A cut connection is taken up again where it ended, or from the beginning where the
 * server cannot do that. The file appears under its name when its size is right, and its hash where the hub tells one; otherwise nothing is left.
 *
 * @param onBytes how much of the file is there
 */
export async function downloadFile(
  client: HubClient,
  commit: string,
  file: HubFile,
  path: string,
  onBytes: (loaded: number) => void,
): Promise<void> {
  const unfinished = `${path}.${process.pid}-${Math.random().toString(36).slice(2)}.incomplete`;
  let part: Part | undefined;
  try {
    await mkdir(dirname(path), { recursive: true });
    await removeAbandoned(path);
    part = new Part(await open(unfinished, 'w'), file);
    await fetchWhole(client, commit, part, onBytes);
    await part.check(client.id);
    await part.handle.close();
    await rename(unfinished, path);
  } catch (error) {
    await part?.handle.close();
    await rm(unfinished, { force: true });
    throw writeError(path, error);
  }
}

/** What processes that were killed have left of the same file. */
async function removeAbandoned(path: string): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`)) continue;
    const pid = name.match(/\.(\d+)-\w+\.incomplete$/)?.[1];
    if (pid && !isRunning(Number(pid))) await rm(join(dirname(path), name), { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0); // signal 0 only asks
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function fetchWhole(client: HubClient, commit: string, part: Part, onBytes: (n: number) => void): Promise<void> {
  const { file } = part;
  let fruitless = 0;
  let furthest = 0;
  for (;;) {
    try {
      for await (const chunk of await client.read(commit, file.path, part.loaded)) {
        await part.append(chunk);
        onBytes(part.loaded);
      }
      if (part.loaded >= file.size) return;
      throw new HubError(`${file.path} of ${client.id} ended after ${part.loaded} of ${file.size} bytes.`, {
        passing: true,
      });
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      const notResumable = part.loaded > 0 && error.status === 416;
      if (!error.passing && !notResumable) throw error;
      fruitless = part.loaded > furthest ? 0 : fruitless + 1;
      if (fruitless === fruitlessTries) throw error;
      furthest = Math.max(furthest, part.loaded);
      if (notResumable) await part.restart();
      await sleep(client.access.retryDelay * 2 ** fruitless);
    }
  }
}

/** A file in the making, and the hash of what it has. */
class Part {
  loaded = 0;
  private hash: Hash = createHash('sha256');

  constructor(
    readonly handle: FileHandle,
    readonly file: HubFile,
  ) {}

  async append(chunk: Uint8Array): Promise<void> {
    await writeAll(this.handle, chunk, this.loaded);
    this.hash.update(chunk);
    this.loaded += chunk.length;
  }

  async restart(): Promise<void> {
    await this.handle.truncate(0);
    this.loaded = 0;
    this.hash = createHash('sha256');
  }

  async check(id: string): Promise<void> {
    const { path, size, sha256 } = this.file;
    if (this.loaded !== size) {
      throw new HubError(`${path} of ${id} arrived damaged: ${this.loaded} bytes, expected ${size}.`);
    }
    const hex = this.hash.digest('hex');
    if (sha256 && hex !== sha256) {
      throw new HubError(`${path} of ${id} arrived damaged: its SHA-256 is ${hex}, expected ${sha256}.`);
    }
    await this.handle.sync();
  }
}
