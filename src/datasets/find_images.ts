import { stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { Florence2Error } from '../errors.ts';
import { IMAGE_EXTENSIONS } from '../image/format.ts';

/**
 * The images that the arguments name, in their order, each once: files, URLs, folders (with the folders in them) and
 * patterns (`photos/*.jpg`, for shells that do not expand them).
 */
export async function expandImages(args: string[]): Promise<string[]> {
  const found = await Promise.all(args.map(expand));
  return [...new Set(found.flat())];
}

async function expand(arg: string): Promise<string[]> {
  if (/^(https?|data|file):/i.test(arg)) return [arg];
  const entry = await stat(arg).catch(() => undefined);
  if (entry?.isDirectory()) {
    const inside = await glob(`**/*.{${IMAGE_EXTENSIONS.join(',')}}`, { cwd: arg, caseSensitiveMatch: false });
    if (inside.length > 0) return inside.sort().map(path => join(arg, path));
    throw new Florence2Error(`The folder ${arg} has no images (${IMAGE_EXTENSIONS.join(', ')}).`);
  }
  if (!entry && isDynamicPattern(arg)) {
    const matches = await glob(arg, { expandDirectories: false, absolute: isAbsolute(arg) });
    if (matches.length > 0) return matches.sort();
    throw new Florence2Error(`No file matches ${arg}.`);
  }
  return [arg]; // what is missing is reported with the other unreadable images
}
