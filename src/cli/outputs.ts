import { basename, extname, join } from 'node:path';
import { UsageError } from '../errors.ts';

/** The base name of each image's output files. */
export type ImageNames = ReadonlyMap<string, string>;

/** Returns the images' file names without extension. If several share a name, the later ones are numbered. */
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
 * Returns a function from image and task to the path of the drawing.
 *
 * @param path a .png file, or a folder that receives a file per image and task. With several tasks, the name of the
 *   task is inserted before the extension of the .png file
 */
export function drawingPaths(
  path: string,
  names: ImageNames,
  severalTasks: boolean,
): (image: string, task: string) => string {
  const extension = extname(path).toLowerCase();
  if (extension === '') return (image, task) => join(path, `${names.get(image)}.${task}.png`);
  if (extension !== '.png') {
    throw new UsageError(`--draw ${path}: drawings are PNG files; give a .png file or a folder.`);
  }
  if (names.size > 1) {
    throw new UsageError(`--draw ${path} is one file for ${names.size} images: give a folder.`);
  }
  return (_image, task) => (severalTasks ? `${path.slice(0, -extension.length)}.${task}.png` : path);
}
