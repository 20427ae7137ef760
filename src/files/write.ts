import { existsSync } from 'node:fs';
import { type FileHandle, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** One call takes at most 2 GiB - 1; smaller pieces also keep the kernel's and libuv's buffers small. */
export const LARGEST_PIECE = 64 << 20;

/** Writes a file whole or not at all, and the folders on its way. */
export async function writeWhole(path: string, data: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const unfinished = `${path}.${process.pid}.part`;
  try {
    await writeFile(unfinished, data);
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}

/**
 * Replaces a folder by one that `write` fills, whole or not at all: whenever the process ends, the folder holds the old
 * files or the new ones (after `recoverFolder`, where it ended in between).
 */
export async function replaceFolder(folder: string, write: (unfinished: string) => Promise<void>): Promise<void> {
  const unfinished = sibling(folder, 'part');
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true });
  try {
    await write(unfinished);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
  const old = sibling(folder, 'old');
  if (existsSync(folder)) {
    await rm(old, { recursive: true, force: true });
    await rename(folder, old);
  }
  await rename(unfinished, folder);
  await rm(old, { recursive: true, force: true });
}

/** Puts right what a `replaceFolder` that was cut off left behind. */
export async function recoverFolder(folder: string): Promise<void> {
  const old = sibling(folder, 'old');
  if (!existsSync(folder) && existsSync(old)) await rename(old, folder);
  await rm(old, { recursive: true, force: true });
  await rm(sibling(folder, 'part'), { recursive: true, force: true });
}

const sibling = (folder: string, state: string): string => join(dirname(folder), `.${basename(folder)}.${state}`);

/** Writes all bytes at a position; one call may write less than it was given. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, LARGEST_PIECE);
    const { bytesWritten } = await handle.write(bytes, done, length, position + done);
    done += bytesWritten;
  }
}
