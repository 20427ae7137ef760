import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { ImageFinder } from '../find_images.ts';
import { readJsonItems } from '../read/json_items.ts';
import { record, reporting, throwErrors } from '../reading.ts';

/** An image of a benchmark with its questions. `Truth` is what answers are compared with. */
export interface BenchmarkImage<Truth> {
  /** Path of the image. */
  image: string;
  /** File and place, for error messages. */
  source: string;
  questions: { task: string; text?: string; truth: Truth }[];
}

/** The images of a benchmark by split, such as `val` and `testA`. */
export type BenchmarkSplits<Truth> = Record<string, BenchmarkImage<Truth>[]>;

/**
 * Returns the first of some files that exists in a folder, or in its folder `annotations`.
 *
 * @param names names that the file is distributed under
 * @throws Florence2Error that lists what was looked for
 */
export function findFile(folder: string, names: readonly string[]): string {
  const places = names.flatMap(name => [join(folder, name), join(folder, 'annotations', name)]);
  const found = places.find(place => existsSync(place));
  if (found) return found;
  const message = `${folder} has no annotations of the benchmark: looked for ${names.join(', ')}, also in annotations/.`;
  throw new Florence2Error(message, { code: 'FILE_NOT_FOUND' });
}

/** Returns a finder of images in a folder and in the folders that its archives are unpacked to. */
export function imagesOf(folder: string, inside: readonly string[]): ImageFinder {
  const parents = [folder, join(folder, 'images'), join(folder, 'images', 'mscoco', 'images')];
  const folders = parents.flatMap(parent => [...inside.map(name => join(parent, name)), parent]);
  return new ImageFinder({ root: folder, folders });
}

/** Calls `read` with each item of a field, or of the file itself. @throws Florence2Error that names file and item */
export async function readItems(
  file: string,
  field: string | undefined,
  read: (item: Record<string, unknown>, source: string) => void,
): Promise<void> {
  let count = 0;
  await readJsonItems(file, field === undefined ? '[' : { [field]: '[' }, (item, i) => {
    count++;
    const source = `${file}: ${field ?? ''}[${i}]`;
    reporting(source, throwErrors, () => read(record(item), source));
  });
  if (count === 0) throw new UsageError(`${file} has no ${field ?? 'items'}: is it the file of this benchmark?`);
}
