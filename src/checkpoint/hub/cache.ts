import { copyFile, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { makeFolder, unfinishedPath, writeWhole } from '../../files/write.ts';
import { openFolder } from '../../platform/node.ts';
import { shardNames } from '../../weights/checkpoint.ts';
import { type FileState, fileState } from './content.ts';

/** The files that make up a model or an adapter. */
export interface FileSet {
  /** What the files are, such as `a Florence-2 checkpoint`. */
  readonly what: string;
  /** The file without which a folder is not of this kind. */
  readonly config: string;
  /** All files apart from the weights. Those that the repository has are downloaded. */
  readonly small: readonly string[];
  /** The files that may hold the weights. The first that the repository has is downloaded. */
  readonly weights: readonly string[];
  /** Groups of small files of which one is needed. */
  readonly oneOf: readonly (readonly string[])[];
}

/** What the cache has of a snapshot. */
export interface Snapshot {
  readonly folder: string;
  /** What loading needs and the cache does not have, in words. Empty: the snapshot can be loaded. */
  readonly lacks: readonly string[];
  /** Whether the cache has all files that the repository has, as far as they are in the file set. */
  readonly complete: boolean;
}

/**
 * A repository in the cache that all Hugging Face tools share. `blobs/<etag>` are the contents of files,
 * `snapshots/<commit>/<file>` are links to them, `refs/<revision>` contain the commit of a branch or tag, and empty files
 * `.no_exist/<commit>/<file>` say that a commit does not have a file.
 */
export class RepoCache {
  /**
   * @param folder `<cache>/models--namespace--name`
   * @param subfolder folder of the files in the repository; '' for the top
   */
  constructor(
    readonly folder: string,
    readonly subfolder: string,
  ) {}

  snapshot(commit: string): string {
    return join(this.folder, 'snapshots', commit, this.subfolder);
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
    if ((await this.commitOf(revision)) === commit) return;
    await writeWhole(join(this.folder, 'refs', revision), Buffer.from(commit));
  }

  /** Notes that a commit does not have these files. Other programs may have filled the cache, which may be read-only. */
  async setAbsent(commit: string, names: readonly string[]): Promise<void> {
    for (const path of names.map(name => this.absence(commit, name))) {
      await makeFolder(dirname(path)).catch(() => undefined);
      await writeFile(path, '').catch(() => undefined);
    }
  }

  /** Returns what the cache has of a commit. Any program may have written it, completely or in part. */
  async inspect(commit: string, files: FileSet): Promise<Snapshot> {
    const folder = this.snapshot(commit);
    const states = new Map<string, FileState>();
    for (const name of files.small) states.set(name, await fileState(folder, name, false));
    const isSound = (name: string): boolean => states.get(name) === 'sound';
    const unsound = files.small.filter(name => !isSound(name));
    const known = await Promise.all(unsound.map(name => exists(this.absence(commit, name))));
    const unknown = unsound.filter((_, i) => !known[i]);
    const hasOne = files.oneOf.length === 0 || files.oneOf.some(group => group.every(isSound));
    const needsOne = !hasOne && files.oneOf.flat().some(name => unknown.includes(name));
    const needed = new Set(unknown.filter(name => name === files.config || states.get(name) === 'damaged'));
    if (needsOne) needed.add(files.oneOf[0][0]);
    const weights = await weightsState(folder, files.weights);
    const lacks = [...needed, ...(weights === 'sound' ? [] : ['the weights'])];
    return { folder, lacks, complete: lacks.length === 0 && unknown.length === 0 };
  }

  /** Links a blob into a snapshot, or moves it there if the system does not support links. */
  async link(etag: string, commit: string, file: string): Promise<void> {
    const blob = this.blob(etag);
    const path = join(this.snapshot(commit), file);
    await makeFolder(dirname(path));
    const temporary = unfinishedPath(path);
    try {
      await symlink(relative(dirname(path), blob), temporary);
      await rename(temporary, path);
    } catch {
      await rm(temporary, { force: true });
      await rename(blob, path).catch(() => copyFile(blob, path));
    }
  }

  private absence(commit: string, name: string): string {
    return join(this.folder, '.no_exist', commit, this.subfolder, name);
  }
}

export const isCommit = (revision: unknown): boolean => typeof revision === 'string' && /^[0-9a-f]{40}$/.test(revision);

/** Whether a file exists. A link without a target does not. */
const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;

/** Returns the state of the weights that loading takes: the first of `names` that exists, with its shards. */
async function weightsState(folder: string, names: readonly string[]): Promise<FileState> {
  const present = await Promise.all(names.map(name => exists(join(folder, name))));
  if (names.length === 0) return 'sound';
  const first = names.find((_, i) => present[i]);
  if (first === undefined) return 'absent';
  const isIndex = first.endsWith('.index.json');
  const files = isIndex ? ((await shardNames(openFolder(folder), first).catch(() => undefined)) ?? ['']) : [first];
  const states = await Promise.all(files.map(file => fileState(folder, file, true)));
  return states.find(state => state !== 'sound') ?? 'sound';
}
