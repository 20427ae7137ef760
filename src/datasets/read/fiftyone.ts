import { basename, dirname, extname, join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import { imagesInFolder } from '../find_images.ts';
import { addObject, newImage, type ReadContext, type ReadImage, type ReadSet, record, reporting } from '../reading.ts';
import { readJsonItems } from './json_items.ts';

/**
 * Reads `labels.json` of FiftyOne's FiftyOneImageDetectionDataset: objects by the names of images without extension, as
 * fractions of width and height. Labels are names, or numbers of `classes`. The images are in `data/`.
 *
 * @throws Florence2Error that names the file and the invalid entry, unless the context handles problems
 */
export async function readFiftyone(file: string, { images: places, onProblem }: ReadContext): Promise<ReadSet> {
  const json = await readJsonItems(file, { labels: '{' }, () => undefined); // for the classes, which may come last
  const { classes, labels } = isRecord(json) ? json : {};
  if (!isRecord(labels)) throw new Florence2Error(`${file}: labels is ${show(labels)}, expected objects by image.`);
  const names = Array.isArray(classes) ? classes.map(String) : undefined;
  const folder = join(dirname(file), 'data');
  const finder = places.within(folder);
  const paths = new Map((await imagesInFolder(folder)).map(path => [stem(finder.nameOf(path)), path]));
  const images: ReadImage[] = [];
  await readJsonItems(file, { labels: '{' }, item => {
    const [name, objects] = item as [string, unknown];
    const at = `${file}: labels.${name}`;
    const image = reporting(at, onProblem, () => {
      const path = paths.get(name) ?? paths.get(stem(name));
      if (path) return newImage(path, finder.nameOf(path), at);
      throw new UsageError(`There is no image ${name} in ${folder}.`);
    });
    if (!image) return;
    images.push(image);
    for (const [i, entry] of (Array.isArray(objects) ? objects : []).entries()) {
      const source = `${at}[${i}]`;
      reporting(source, onProblem, () => {
        const { label, bounding_box: bounds, confidence } = record(entry);
        if (!Array.isArray(bounds) || bounds.length !== 4 || !bounds.every(Number.isFinite)) {
          throw new UsageError(`bounding_box is ${show(bounds)}, expected x, y, width and height.`);
        }
        const [x, y, width, height] = bounds as number[];
        if (width < 0 || height < 0) throw new UsageError(`bounding_box is ${show(bounds)}: a size is negative.`);
        const known = typeof label === 'number' ? names?.[label] : label;
        if (known === undefined) throw new UsageError(`label ${show(label)} is not a number of the classes.`);
        const score = typeof confidence === 'number' ? { score: confidence } : {};
        addObject(image, { label: known as string, box: [x, y, x + width, y + height], ...score }, source, onProblem);
      });
    }
  });
  return {
    ...{ name: file, format: 'fiftyone', images, subjects: ['objects'], frame: 'upright', fractions: true },
    ...(names && { labels: names }),
  };
}

const stem = (name: string): string => join(dirname(name), basename(name, extname(name)));
