import { existsSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path';
import { UsageError } from '../errors.ts';

/**
 * Returns where the files about each image lie in an output folder: the path of the image without its extension,
 * relative to the deepest folder that contains all images, so that a/x.png and b/x.png do not collide. URLs and standard
 * input have the last part of their name. Of equal paths (x.png and x.jpg) the later ones are numbered.
 */
export function nameOutputs(images: readonly string[]): string[] {
  const files = images.filter(isPath).map(path => resolve(path));
  const root = commonFolder(files.map(dirname));
  const taken = new Set<string>();
  return images.map(image => {
    const path = isPath(image) ? relative(root, resolve(image)) : lastPart(image);
    const stem = path.slice(0, path.length - extname(path).length) || 'image';
    let name = stem;
    for (let n = 2; taken.has(name); n++) name = `${stem}-${n}`;
    taken.add(name);
    return name;
  });
}

const isPath = (image: string): boolean => image !== '-' && !/^(https?|data|file):/i.test(image);

/** The last part of a URL's path; `image` for data URLs, `stdin` for standard input. */
function lastPart(image: string): string {
  if (image === '-') return 'stdin';
  return /^data:/i.test(image) ? 'image' : basename(image.replace(/[?#].*$/, ''));
}

function commonFolder(folders: readonly string[]): string {
  const [first = '', ...others] = folders;
  let parts = first.split(sep);
  for (const other of others.map(folder => folder.split(sep))) {
    const differs = parts.findIndex((part, i) => part !== other[i]);
    if (differs >= 0) parts = parts.slice(0, differs);
  }
  return parts.join(sep) + sep;
}

/**
 * Returns a function from an image's path of `nameOutputs` to the paths of its drawings, one per task.
 *
 * @param path a .png file, or a folder that receives a file per image and task. With several tasks, the name of the
 *   task is inserted before the extension of the .png file
 * @throws UsageError for another kind of file, and for one file for several images
 */
export function drawingPaths(path: string, images: number, tasks: readonly string[]): (output: string) => string[] {
  const extension = extname(path).toLowerCase();
  if (extension === '' || isFolder(path)) return output => tasks.map(task => join(path, `${output}.${task}.png`));
  if (extension !== '.png') {
    throw new UsageError(`--draw ${path}: drawings are PNG files; give a .png file or a folder.`);
  }
  if (images > 1) throw new UsageError(`--draw ${path} is one file for ${images} images: give a folder.`);
  const stem = path.slice(0, -extension.length);
  return () => (tasks.length > 1 ? tasks.map(task => `${stem}.${task}.png`) : [path]);
}

const isFolder = (path: string): boolean => /[\\/]$/.test(path) || (existsSync(path) && statSync(path).isDirectory());
