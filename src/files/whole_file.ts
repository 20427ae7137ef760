import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { Florence2Error } from '../errors.ts';
import { fileError } from './errors.ts';

/** Most bytes of a file that is read as a whole, such as an image, settings or annotations. */
export const LARGEST_FILE: number = 2 ** 30;

/**
 * Reads a file as a whole. Devices, pipes and the like are refused before they are opened: they may have no end, or wait
 * for a writer.
 *
 * @param most limit of the size in bytes
 * @throws Florence2Error if it is missing, not a file, too large or cannot be read
 */
export async function readWholeFile(path: string, most: number = LARGEST_FILE): Promise<Uint8Array> {
  let handle: FileHandle | undefined;
  try {
    const { size } = await requireFile(path);
    if (size > most) throw tooLarge(path, size, most);
    handle = await open(path, 'r');
    return await handle.readFile();
  } catch (error) {
    throw fileError(path, error);
  } finally {
    await handle?.close();
  }
}

/** Reads a file as UTF-8. @throws Florence2Error as `readWholeFile` does, and above 500 MB, the longest text */
export async function readTextFile(path: string): Promise<string> {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(await readWholeFile(path, 500_000_000));
}

/**
 * Returns the size of a file, or of a folder, which cannot be read.
 *
 * @throws Florence2Error for devices, pipes and sockets, and for files below /proc and /sys, whose size is unknown; the
 *   system's error if nothing exists there
 */
export async function requireFile(path: string): Promise<{ size: number }> {
  const found = await stat(path);
  const isSpecial = !found.isFile() && !found.isDirectory();
  if (isSpecial || /^\/(proc|sys)\//.test(await realpath(path))) throw notFile(path);
  return found;
}

const notFile = (path: string): Florence2Error =>
  new Florence2Error(`${path} is a device, a pipe or a file of the system, not a file on a disk.`, {
    code: 'FILE_NOT_READABLE',
  });

const tooLarge = (path: string, size: number, most: number): Florence2Error =>
  new Florence2Error(`${path} has ${size} bytes, more than the limit of ${most}.`, { code: 'FILE_NOT_READABLE' });
