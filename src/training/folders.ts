import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

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
