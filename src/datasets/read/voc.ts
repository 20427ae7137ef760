import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { readLines } from '../../files/lines.ts';
import { orderedBox } from '../../geometry/orientation.ts';
import type { BoxCoordinates } from '../../geometry/types.ts';
import { SPLIT_FOLDERS } from '../detect.ts';
import { filesInFolder, imagesInFolder } from '../find_images.ts';
import {
  addObject,
  newImage,
  type ReadContext,
  type ReadImage,
  type ReadSet,
  reporting,
  SPLITS,
  type Split,
} from '../reading.ts';
import { addMasks } from './voc_masks.ts';
import { childOf, numberOf, readXml, type XmlElement } from './xml.ts';

/**
 * Reads Pascal VOC: a folder with `Annotations/*.xml` and `JPEGImages`, or XML files beside their images. An image without
 * XML has no objects. Masks are read from `SegmentationClass` and `SegmentationObject`. With a split, only the images are
 * read that `<split>.txt` in `ImageSets/Main` or `ImageSets/Segmentation` lists. Without any lists all images are of the
 * split `train`.
 *
 * Files with whole numbers count pixels from 1, so xmin and ymin are lowered by 1; others count from 0.
 *
 * @param folder that of the XML files, or its parent
 * @throws Florence2Error that names the file and line of the invalid entry, unless the context handles problems
 */
export async function readVoc(folder: string, context: ReadContext): Promise<ReadSet> {
  const { onProblem } = context;
  const annotations = existsSync(join(folder, 'Annotations')) ? join(folder, 'Annotations') : folder;
  const root = rootOf(annotations);
  const imageFolder = ['JPEGImages', 'images'].map(name => join(root, name)).find(place => existsSync(place)) ?? root;
  const finder = context.images.within(imageFolder);
  const read: ReadSet = { name: folder, format: 'voc', images: [], subjects: ['objects'], frame: 'upright' };
  const seen = new Set<string>();
  for (const name of await filesInFolder(annotations, /\.xml$/)) {
    const file = join(annotations, name);
    try {
      for await (const element of readXml(file, 0)) {
        const image = reporting(file, onProblem, () => {
          if (element.name === 'annotations')
            throw new UsageError('It is a file of CVAT: name it instead of its folder.');
          if (element.name !== 'annotation') throw new UsageError(`The root is <${element.name}>, not <annotation>.`);
          const filename = childOf(element, 'filename')?.text ?? '';
          const beside = join(dirname(name), basename(filename.replaceAll('\\', '/')));
          const path = finder.find(existsSync(join(imageFolder, beside)) ? beside : filename || beside);
          return newImage(path, finder.nameOf(path), file, sizeOf(childOf(element, 'size')));
        });
        if (!image) continue;
        addObjects(image, element, file, context);
        seen.add(image.image as string);
        read.images.push(image);
      }
    } catch (error) {
      if (!(error instanceof Florence2Error)) throw error;
      const [, source = file, message = error.message] = /^(.*?\.xml(?::\d+)?): (.*)$/s.exec(error.message) ?? [];
      onProblem({ severity: 'error', source, message });
    }
  }
  const named = new Set(read.images.map(({ source }) => source));
  for (const path of await imagesInFolder(imageFolder)) {
    const file = finder.nameOf(path);
    const own = join(annotations, `${file.replace(/\.[^.]*$/, '')}.xml`);
    if (!seen.has(path) && !existsSync(own) && !named.has(own)) read.images.push(newImage(path, file, path));
  }
  if (context.split) read.images = await inSplit(read.images, root, context.split);
  await addMasks(root, read.images, context);
  return read;
}

/** Returns the folder of a dataset, given that or its `Annotations`. */
const rootOf = (folder: string): string => (basename(folder) === 'Annotations' ? dirname(folder) : folder);

/** Returns the files that list the images of a split, of those that exist. */
function listsOf(root: string, split: Split): string[] {
  const names = split === 'valid' ? ['val', 'valid'] : [split];
  const files = ['Main', 'Segmentation'].flatMap(set => names.map(name => join(root, 'ImageSets', set, `${name}.txt`)));
  return files.filter(file => existsSync(file));
}

/** Whether a dataset has images of a split. Without lists they are all of `train`, or of the split that names the folder. */
export function hasVocSplit(folder: string, split: Split): boolean {
  const root = rootOf(folder);
  if (listsOf(root, split).length > 0 || SPLIT_FOLDERS[split].includes(basename(root).toLowerCase())) return true;
  return split === 'train' && SPLITS.every(other => listsOf(root, other).length === 0);
}

/** Returns the images that the lists of a split name, without extension; all if there is no list. */
async function inSplit(images: ReadImage[], root: string, split: Split): Promise<ReadImage[]> {
  const files = listsOf(root, split);
  if (files.length === 0 && hasVocSplit(root, split)) return images;
  if (files.length === 0) {
    const name = split === 'valid' ? 'val' : split;
    const message = `${root} has no ${split} split: looked for ImageSets/Main/${name}.txt.`;
    throw new Florence2Error(message, { code: 'FILE_NOT_FOUND' });
  }
  const listed = new Set<string>();
  for (const file of files) {
    for await (const { text } of readLines(file)) listed.add(text.replace(/\s+-?[01]$/, '').replace(/^"(.*)"$/, '$1'));
  }
  return images.filter(image => {
    const stem = image.file.replace(/\.[^.]*$/, '');
    return listed.has(stem) || listed.has(basename(stem)) || listed.has(image.file);
  });
}

/** Returns the size in a file; undefined if it is absent or 0, which some tools write for unknown sizes. */
function sizeOf(size: XmlElement | undefined): ReadImage['size'] {
  const [width, height] = ['width', 'height'].map(name => Number(childOf(size, name)?.text));
  return width > 0 && height > 0 ? { width, height } : undefined;
}

function addObjects(image: ReadImage, annotation: XmlElement, file: string, { onProblem }: ReadContext): void {
  const objects = annotation.children.filter(({ name }) => name === 'object');
  const boxes = objects.flatMap(object => childOf(object, 'bndbox')?.children ?? []);
  const isWhole = boxes.length > 0 && boxes.every(({ text }) => /^\s*-?\d+\s*$/.test(text));
  for (const [i, object] of objects.entries()) {
    const source = `${file}:${object.line}: object[${i}]`;
    reporting(source, onProblem, () => {
      const label = childOf(object, 'name')?.text ?? '';
      const bounds = childOf(object, 'bndbox');
      if (!bounds) throw new UsageError('The object has no bndbox.');
      const [x1, y1, x2, y2] = ['xmin', 'ymin', 'xmax', 'ymax'].map(name =>
        numberOf(childOf(bounds, name)?.text, name),
      );
      if (x1 > x2 || y1 > y2) {
        const message = `bndbox has xmin ${x1}, xmax ${x2}, ymin ${y1}, ymax ${y2}: its corners are sorted.`;
        onProblem({ severity: 'warning', source, message });
      }
      const [left, top, right, bottom] = orderedBox([x1, y1, x2, y2]);
      const box: BoxCoordinates = isWhole
        ? [Math.max(left - 1, 0), Math.max(top - 1, 0), right, bottom]
        : [left, top, right, bottom];
      addObject(image, { label, box }, source, onProblem);
    });
  }
}
