import { basename, extname, join } from 'node:path';
import { UsageError } from '../errors.ts';

/** A name for each image, by which its output files are called. */
export type ImageNames = ReadonlyMap<string, string>;

/** The images' file names without extension; where two share one, the later ones are numbered. */
export function nameImages(images: string[]): ImageNames {
  const taken = new Set<string>();
  return new Map(
    images.map(image => {
      const path = image.startsWith('data:') ? 'image' : image.replace(/[?#].*$/, '');
      const stem = basename(path, extname(path)) || 'image';
      let name = stem;
      for (let n = 2; taken.has(name); n++) name = `${stem}-${n}`;
      taken.add(name);
      return [image, name];
    }),
  );
}

/**
 * Where a run's drawings go, by image and task. `path` is a .png file, which with several tasks gets the task's name
 * before its extension, or a folder with a file for each image and task.
 */
export function drawingPaths(
  path: string,
  names: ImageNames,
  severalTasks: boolean,
): (image: string, task: string) => string {
  const extension = extname(path).toLowerCase();
  if (extension === '') return (image, task) => join(path, `${names.get(image)}.${task}.png`);
  if (extension !== '.png') {
    throw new UsageError(`--draw ${path}: pictures are written as PNG, so name a .png file or a folder.`);
  }
  if (names.size > 1) {
    throw new UsageError(`--draw ${path} is one file, but there are ${names.size} images: name a folder.`);
  }
  return (_image, task) => (severalTasks ? `${path.slice(0, -extension.length)}.${task}.png` : path);
}
