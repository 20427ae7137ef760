import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { UsageError } from '../errors.ts';
import { errorAt, writeError } from './errors.ts';
import type { FileContent } from './folder.ts';

/**
 * Writes a file as a whole: it appears under its name when it is complete and on the disk. If writing fails, nothing is
 * left of it and an earlier file stays, also after a power cut. Missing folders on the way are created.
 *
 * @throws Florence2Error if the file cannot be written, and whatever producing a chunk throws
 */
export async function writeWhole(path: string, content: FileContent): Promise<void> {
  await makeFolder(dirname(path)).catch(error => {
    throw writeError(path, error);
  });
  await writeInFolder(path, content);
}

/** Writes a file as `writeWhole` does, in a folder that exists. */
export async function writeInFolder(path: string, content: FileContent): Promise<void> {
  const file = await UnfinishedFile.create(path);
  try {
    if (content instanceof Uint8Array) await file.append(content);
    else for await (const chunk of content) await file.append(chunk);
    await file.finish();
  } catch (error) {
    await file.abandon();
    throw error;
  }
}

/** A file that is written chunk by chunk under a temporary name. It gets its own name when it is complete. */
export class UnfinishedFile {
  private position = 0;

  private constructor(
    private readonly path: string,
    private readonly temporary: string,
    private readonly handle: FileHandle,
  ) {}

  /** @throws Florence2Error if the folder does not exist or cannot be written to */
  static async create(path: string): Promise<UnfinishedFile> {
    const temporary = unfinishedPath(path);
    try {
      return new UnfinishedFile(path, temporary, await open(temporary, 'wx'));
    } catch (error) {
      throw writeError(path, error);
    }
  }

  /** Bytes written so far. */
  get size(): number {
    return this.position;
  }

  async append(bytes: Uint8Array): Promise<void> {
    try {
      await writeAll(this.handle, bytes, this.position);
    } catch (error) {
      throw writeError(this.path, error);
    }
    this.position += bytes.length;
  }

  /** Removes the content, to write it again. */
  async restart(): Promise<void> {
    await this.handle.truncate(0);
    this.position = 0;
  }

  /** Flushes the file to the disk, gives it its name, and flushes the name. Nothing is left of it if that fails. */
  async finish(): Promise<void> {
    try {
      await this.handle.sync();
      await this.handle.close();
      await rename(this.temporary, this.path);
      await flush(dirname(this.path));
    } catch (error) {
      await this.abandon();
      throw writeError(this.path, error);
    }
  }

  /** Removes what was written. */
  async abandon(): Promise<void> {
    await this.handle.close();
    await rm(this.temporary, { force: true });
  }
}

/** Returns a temporary name next to `path` that no other writer uses. It contains the id of this process. */
export const unfinishedPath = (path: string): string =>
  `${path}.${process.pid}-${Math.random().toString(36).slice(2)}.incomplete`;

/**
 * Removes the unfinished files of processes that have ended.
 *
 * @param name only those of this file; default: all in the folder
 */
export async function removeAbandoned(folder: string, name?: string): Promise<void> {
  for (const found of await readdir(folder)) {
    const [, of, pid] = found.match(/^(.*)\.(\d+)-\w+\.incomplete$/) ?? [];
    if (pid === undefined || (name !== undefined && of !== name) || isRunning(Number(pid))) continue;
    await rm(join(folder, found), { recursive: true, force: true });
  }
}

/** Returns whether a process of this machine is running. */
export function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0); // signal 0 only checks that the process exists
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * Replaces a folder by one that `write` fills. Whenever the process ends or the power is cut, the folder holds either the
 * old files or the new ones; if it happens between the two renames, `recoverFolder` restores the old ones. Each step is on
 * the disk before the next one starts, because a file system may write a rename before the contents of the files.
 *
 * @param keep new path of the old folder, in the same parent. Default: the old folder is removed
 * @throws Florence2Error that names the folder or a file in it, not the temporary one; and whatever `write` throws
 */
export async function replaceFolder(
  folder: string,
  write: (unfinished: string) => Promise<void>,
  keep?: string,
): Promise<void> {
  const unfinished = sibling(folder, 'part');
  try {
    await rm(unfinished, { recursive: true, force: true });
    await makeFolder(unfinished);
    await write(unfinished);
    await flushTree(unfinished);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true }).catch(() => undefined); // the first error is reported
    throw errorAt(folder, unfinished, error);
  }
  const old = keep ?? sibling(folder, 'old');
  if (existsSync(folder)) {
    await rm(old, { recursive: true, force: true });
    await rename(folder, old);
  }
  await rename(unfinished, folder);
  await flush(dirname(folder));
  if (keep === undefined) await rm(old, { recursive: true, force: true });
}

/**
 * Writes a folder that `write` fills. It appears when it is complete. If writing fails, nothing is left of it.
 *
 * @throws UsageError if the folder exists and is not empty; otherwise as `replaceFolder` does
 */
export async function writeNewFolder(folder: string, write: (unfinished: string) => Promise<void>): Promise<void> {
  await requireNewFolder(folder);
  await replaceFolder(folder, write);
}

/** @throws UsageError if the folder exists and is not empty, Florence2Error if it is a file or cannot be read */
export async function requireNewFolder(folder: string): Promise<void> {
  const present = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw writeError(folder, error);
  });
  if (present.length > 0) throw new UsageError(`${folder} is not empty: name a new folder, or delete its files first.`);
}

/** Cleans up after a `replaceFolder` that was interrupted: restores the old folder if the new one is not in place. */
export async function recoverFolder(folder: string): Promise<void> {
  const old = sibling(folder, 'old');
  if (!existsSync(folder) && existsSync(old)) {
    await rename(old, folder);
    await flush(dirname(folder));
  }
  await rm(old, { recursive: true, force: true });
  await rm(sibling(folder, 'part'), { recursive: true, force: true });
}

const sibling = (folder: string, state: string): string => join(dirname(folder), `.${basename(folder)}.${state}`);

/**
 * Creates a folder with its missing parents, and flushes their names. Node's recursive mkdir does not end where folders
 * cannot be created, as in /proc.
 */
export async function makeFolder(path: string): Promise<void> {
  const missing: string[] = [];
  for (let folder = resolve(path); !(await isFolder(folder)); folder = dirname(folder)) {
    if (folder === dirname(folder)) break;
    missing.push(folder);
  }
  for (const folder of missing.toReversed()) {
    await mkdir(folder).catch(async error => {
      if (!(await isFolder(folder))) throw error; // otherwise another process created it
    });
  }
  for (const folder of missing) await flush(dirname(folder));
}

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() ?? false;

/** Flushes a file's contents, or a folder's list of names, to the disk. */
export async function flush(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(error => {
    if (process.platform === 'win32') return; // Windows opens no folders and writes their names with the files
    throw error;
  });
  try {
    await handle?.sync();
  } finally {
    await handle?.close();
  }
}

/** Flushes all files and folders of a folder. */
async function flushTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    await (entry.isDirectory() ? flushTree(path) : flush(path));
  }
  await flush(folder);
}

/**
 * Most bytes per call. The limit of a call is 2 GiB − 1; smaller chunks keep the buffers of the kernel and libuv small.
 */
export const LARGEST_CHUNK = 64 << 20;

/** Writes all bytes at a position; a single call may write fewer than it was given. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, LARGEST_CHUNK);
    const { bytesWritten } = await handle.write(bytes, done, length, position + done);
    done += bytesWritten;
  }
}
