import { copyFile, mkdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { writeWhole } from '../../files/write.ts';
import { openFolder } from '../../platform/node.ts';
import { shardNames, WEIGHT_FILES } from '../../weights/checkpoint.ts';

/**
 * A repository in the cache that all Hugging Face tools share. `blobs/<etag>` are the contents of files,
 * `snapshots/<commit>/<file>` are links to them, and `refs/<revision>` contain the commit of a branch or tag.
 */
export class RepoCache {
  /** @param folder `<cache>/models--namespace--name` */
  constructor(readonly folder: string) {}

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  blob(etag: string): string {
    return join(this.folder, 'blobs', etag);
  }

  /**
   * Returns the commit of a revision at its last download; undefined if there was none. A commit is returned unchanged.
   */
  async commitOf(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision;
    const text = await readFile(join(this.folder, 'refs', revision), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  async setRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision)) return;
    await writeWhole(join(this.folder, 'refs', revision), Buffer.from(commit));
  }

  /** Returns the snapshot of a revision if it is complete: weights are downloaded last. */
  async completeSnapshot(revision: string): Promise<string | undefined> {
    const commit = await this.commitOf(revision);
    if (!commit) return undefined;
    const folder = this.snapshot(commit);
    const there = (await exists(join(folder, 'config.json'))) && (await hasWeights(folder));
    return there ? folder : undefined;
  }

  /** Links a blob into a snapshot, or moves it there if the system does not support links. */
  async link(etag: string, commit: string, file: string): Promise<void> {
    const blob = this.blob(etag);
    const path = join(this.snapshot(commit), file);
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true }); // may be a link to a blob that was removed
    try {
      await symlink(relative(dirname(path), blob), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return; // created by another process
      await rename(blob, path).catch(() => copyFile(blob, path));
    }
  }
}

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** Whether a file exists. A link without a target does not. */
export const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;

/** Returns the files that a folder does not have. */
export async function absentFiles(folder: string, names: string[]): Promise<string[]> {
  const present = await Promise.all(names.map(name => exists(join(folder, name))));
  return names.filter((_, i) => !present[i]);
}

async function hasWeights(folder: string): Promise<boolean> {
  for (const name of WEIGHT_FILES) {
    if (!(await exists(join(folder, name)))) continue;
    if (!name.endsWith('.index.json')) return true;
    const shards = await shardNames(openFolder(folder), name).catch(() => undefined);
    if (shards && (await absentFiles(folder, shards)).length === 0) return true;
  }
  return false;
}
