import { existsSync, statSync } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
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
  if (isUrl(arg) || /^file:/i.test(arg)) return [arg];
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
  const names = await filesInFolder(folder, IMAGE_NAME);
  return names.map(name => join(folder, name));
}

/**
 * Returns the files in a folder and its subfolders whose names match, with `/` and relative to the folder, sorted. Links
 * are followed; names that start with a dot are left out. A folder that does not exist has none. (For 100,000 files,
 * tinyglobby takes 7 s and 800 MB.)
 */
export async function filesInFolder(folder: string, pattern: RegExp): Promise<string[]> {
  const found: string[] = [];
  const walk = async (inside: string, above: readonly string[]): Promise<void> => {
    const path = await realpath(join(folder, inside));
    if (above.includes(path)) return; // a link to a folder around it
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      const name = inside === '' ? entry.name : `${inside}/${entry.name}`;
      const kind = entry.isSymbolicLink() ? statSync(join(path, entry.name), { throwIfNoEntry: false }) : entry;
      if (kind?.isDirectory()) await walk(name, [...above, path]);
      else if (kind?.isFile() && pattern.test(name)) found.push(name);
    }
  };
  try {
    await walk('', []);
  } catch (error) {
    if (!isAbsent(error)) throw fileError(folder, error);
  }
  return found.sort();
}

/** Matches paths and addresses that end as image files do. */
export const IMAGE_NAME: RegExp = new RegExp(`\\.(${IMAGE_EXTENSIONS.join('|')})(\\?.*)?$`, 'i');

/** Where the images of a dataset may be. */
export interface ImagePlaces {
  /** Folders that relative paths start from, in this order. */
  folders: readonly string[];
  /** The folder of the dataset: paths in annotations may not leave it. */
  root: string;
  /** A folder of the user's choice, which paths may lead into too, and where images are looked for first. */
  imageRoot?: string;
  /** Whether images must exist. Default true. */
  required?: boolean;
}

/** Finds the images that annotations name. */
export class ImageFinder {
  private readonly seen = new Map<string, boolean>();
  private readonly roots: string[];
  private readonly folders: string[];

  private readonly required: boolean;

  constructor({ folders, root, imageRoot, required = true }: ImagePlaces) {
    this.required = required;
    this.roots = [root, ...(imageRoot === undefined ? [] : [imageRoot])].map(folder => resolve(folder));
    this.folders = [...new Set([...(imageRoot === undefined ? [] : [imageRoot]), ...folders])];
  }

  /** Returns a finder that also looks in these folders, first. */
  within(...folders: string[]): ImageFinder {
    const [root, imageRoot] = this.roots;
    const given = this.folders.slice(imageRoot === undefined ? 0 : 1);
    const { required } = this;
    const places = { root, folders: [...folders, ...given], required };
    return new ImageFinder({ ...places, ...(imageRoot !== undefined && { imageRoot }) });
  }

  /**
   * Returns the path of an image, or its URL. Backslashes separate folders too. Of an absolute path, or one that leaves
   * the dataset, the longest end that exists in the dataset is taken: it was written on another machine.
   *
   * @throws Florence2Error if the file does not exist but must, or lies outside the dataset and the image root
   */
  find(name: string): string {
    if (/^file:/i.test(name)) return this.find(fileURLToPath(name));
    if (isUrl(name)) return name;
    const found = [name, name.replaceAll('\\', '/')].map(spelling => this.findSpelling(spelling)).find(Boolean);
    if (found) return found;
    const path = isAbsolute(name) ? name : join(this.folders[0], name);
    if (!this.allows(path)) {
      const message = `The image ${name} lies outside the dataset's folder ${this.roots[0]}. To allow its folder, name it as the image root (--image-root).`;
      throw new Florence2Error(message, { code: 'FILE_NOT_FOUND' });
    }
    if (!this.required) return path;
    const places = this.folders.map(folder => join(folder, name));
    const looked = isAbsolute(name) ? [name] : [...new Set(places)];
    throw new Florence2Error(`The image ${name} does not exist: looked for ${looked.join(', ')}.`, {
      code: 'FILE_NOT_FOUND',
    });
  }

  /** Returns the path that a file has relative to the innermost of the folders, with `/`. */
  nameOf(path: string): string {
    if (isUrl(path)) return basename(new URL(path).pathname);
    const names = this.folders.map(folder => relative(folder, path)).filter(name => !leaves(name));
    const name = names.reduce((best, other) => (other.length < best.length ? other : best), names[0] ?? basename(path));
    return name.replaceAll('\\', '/');
  }

  private findSpelling(name: string): string | undefined {
    const absolute = isAbsolute(name) || /^[a-z]:\//i.test(name);
    const direct = absolute ? [name] : this.folders.map(folder => join(folder, name));
    const found = direct.find(path => this.allows(path) && this.exists(path));
    if (found || !(absolute || direct.every(path => !this.allows(path)))) return found;
    const parts = name.split('/').filter(part => part !== '' && part !== '.' && part !== '..');
    const ends = parts.map((_, i) => parts.slice(i).join('/'));
    return ends.flatMap(end => this.folders.map(folder => join(folder, end))).find(path => this.exists(path));
  }

  /** Whether a path lies in the dataset or in the image root. */
  readonly allows = (path: string): boolean => this.roots.some(root => !leaves(relative(root, path)));

  private exists(path: string): boolean {
    if (!this.seen.has(path)) this.seen.set(path, existsSync(path));
    return this.seen.get(path)!;
  }
}

const leaves = (path: string): boolean => /^\.\.($|[\\/])/.test(path) || isAbsolute(path);

/** Whether an image is named by a URL. */
export const isUrl = (name: string): boolean => /^(https?|data):/i.test(name);
