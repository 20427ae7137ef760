import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { glob } from 'tinyglobby';
import { Florence2Error, UsageError } from '../../errors.ts';
import { readLines } from '../../files/lines.ts';
import { orderedBox } from '../../geometry/orientation.ts';
import type { BoxCoordinates } from '../../geometry/types.ts';
import { imagesInFolder } from '../find_images.ts';
import { addObject, newImage, type ReadContext, type ReadImage, type ReadSet, reporting } from '../reading.ts';
import { childOf, numberOf, readXml, type XmlElement } from './xml.ts';

/**
 * Reads Pascal VOC: a folder with `Annotations/*.xml` and `JPEGImages`, or XML files beside their images. An image without
 * XML has no objects. With a split, only the images that `ImageSets/Main/<split>.txt` lists are read, if it exists.
 *
 * Files with whole numbers count pixels from 1, so xmin and ymin are lowered by 1; others count from 0.
 *
 * @param folder that of the XML files, or its parent
 * @throws Florence2Error that names the file and line of the invalid entry, unless the context handles problems
 */
export async function readVoc(folder: string, context: ReadContext): Promise<ReadSet> {
  const { onProblem } = context;
  const annotations = existsSync(join(folder, 'Annotations')) ? join(folder, 'Annotations') : folder;
  const root = basename(annotations) === 'Annotations' ? dirname(annotations) : annotations;
  const imageFolder = ['JPEGImages', 'images'].map(name => join(root, name)).find(place => existsSync(place)) ?? root;
  const finder = context.images.within(imageFolder);
  const read: ReadSet = { name: folder, format: 'voc', images: [], subjects: ['objects'], frame: 'upright' };
  const seen = new Set<string>();
  for (const name of (await glob('**/*.xml', { cwd: annotations })).sort()) {
    const file = join(annotations, name);
    try {
      for await (const element of readXml(file, 0)) {
        const image = reporting(file, onProblem, () => {
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
      const [, source = file, message = error.message] = /^(.*?\.xml:\d+): (.*)$/s.exec(error.message) ?? [];
      onProblem({ severity: 'error', source, message });
    }
  }
  const named = new Set(read.images.map(({ source }) => source));
  for (const path of await imagesInFolder(imageFolder)) {
    const file = finder.nameOf(path);
    const own = join(annotations, `${file.replace(/\.[^.]*$/, '')}.xml`);
    if (!seen.has(path) && !existsSync(own) && !named.has(own)) read.images.push(newImage(path, file, path));
  }
  return context.split ? { ...read, images: await inSplit(read.images, root, context.split) } : read;
}

/** Returns the images that the list of a split names, without extension; all if there is no list. */
async function inSplit(images: ReadImage[], root: string, split: string): Promise<ReadImage[]> {
  const names = split === 'valid' ? ['val', 'valid'] : [split];
  const file = names.map(name => join(root, 'ImageSets', 'Main', `${name}.txt`)).find(path => existsSync(path));
  if (!file) return images;
  const listed = new Set<string>();
  for await (const { text } of readLines(file)) listed.add(text.replace(/\s+-?[01]$/, '').replace(/^"(.*)"$/, '$1'));
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
