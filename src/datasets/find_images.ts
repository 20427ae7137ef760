import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { glob, isDynamicPattern } from 'tinyglobby';
import { Florence2Error } from '../errors.ts';
import { fileError, isAbsent } from '../files/errors.ts';
import { IMAGE_EXTENSIONS } from '../image/format.ts';

/**
 * Returns the images that command-line arguments name, in their order and without duplicates. An argument is a file, a
 * URL, a folder (searched recursively) or a pattern (`photos/*.jpg`, for shells that do not expand patterns).
 *
 * @throws Florence2Error if a file does not exist, or a folder or pattern has no image
 */
export async function expandImages(args: string[]): Promise<string[]> {
  const found = await Promise.all(args.map(expand));
  return [...new Set(found.flat())];
}

async function expand(arg: string): Promise<string[]> {
  if (isUrl(arg)) return [arg];
  const entry = await stat(arg).catch(error => {
    if (!isAbsent(error)) throw fileError(arg, error);
  });
  if (entry?.isDirectory()) {
    const inside = await imagesInFolder(arg);
    if (inside.length > 0) return inside;
    throw new Florence2Error(`The folder ${arg} has no images (${IMAGE_EXTENSIONS.join(', ')}).`, {
      code: 'FILE_NOT_FOUND',
    });
  }
  if (entry) return [arg];
  if (isDynamicPattern(arg)) {
    const matches = await glob(arg, { expandDirectories: false, absolute: isAbsolute(arg) });
    if (matches.length > 0) return matches.sort();
    throw new Florence2Error(`No file matches ${arg}.`, { code: 'FILE_NOT_FOUND' });
  }
  throw new Florence2Error(`${arg} does not exist.`, { code: 'FILE_NOT_FOUND' });
}

/** Returns the paths of all images in a folder and its subfolders, sorted. */
export async function imagesInFolder(folder: string): Promise<string[]> {
  const names = await glob(`**/*.{${IMAGE_EXTENSIONS.join(',')}}`, { cwd: folder, caseSensitiveMatch: false });
  return names.sort().map(name => join(folder, name));
}

/** Finds the images that an annotation file names relative to a folder. Absolute paths, `..` and URLs are allowed. */
export class ImageFolder {
  private readonly seen = new Map<string, boolean>();

  constructor(readonly folder: string) {}

  /** Returns the path of an image, or its URL. @throws Florence2Error if the file does not exist */
  find(name: string): string {
    if (isUrl(name)) return name;
    const path = isAbsolute(name) ? name : join(this.folder, name);
    if (!this.seen.has(path)) this.seen.set(path, existsSync(path));
    if (this.seen.get(path)) return path;
    throw new Florence2Error(`The image ${name} does not exist: looked for ${path}.`, { code: 'FILE_NOT_FOUND' });
  }
}

const isUrl = (name: string): boolean => /^(https?|data|file):/i.test(name);
