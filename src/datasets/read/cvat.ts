import { dirname, join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { boundsOf } from '../../geometry/clip.ts';
import type { BoxCoordinates, Polygon, QuadCoordinates } from '../../geometry/types.ts';
import { show } from '../../show.ts';
import type { LabelledObject } from '../annotation.ts';
import {
  addObject,
  newImage,
  type ReadContext,
  type ReadImage,
  type ReadSet,
  reporting,
  subjectsOf,
} from '../reading.ts';
import { maskOf, quadOf, turnedCorners } from './shapes.ts';
import { childOf, numberOf, readXml, type XmlElement } from './xml.ts';

/**
 * Reads CVAT for images 1.1: boxes (also turned ones), polygons and masks. Polygons of one label with the same `group_id`
 * are the parts of one object. Polygons with an attribute `text` are lines of text. Tags, points, lines, ellipses and
 * skeletons are left out, with a warning that counts them.
 *
 * @throws Florence2Error that names the file and line of the invalid entry, unless the context handles problems
 */
export async function readCvat(file: string, context: ReadContext): Promise<ReadSet> {
  const { onProblem } = context;
  const finder = context.images.within(join(dirname(file), 'images'), dirname(file));
  const images: ReadImage[] = [];
  const labels: string[] = [];
  const left = new Map<string, number>();
  let count = 0;
  const onRoot = (name: string): void => {
    if (name !== 'annotations') throw new Florence2Error(`${file}: The root is <${name}>, not CVAT's <annotations>.`);
  };
  for await (const element of readXml(file, 1, onRoot)) {
    if (element.name === 'meta') labels.push(...labelsOf(element));
    if (element.name !== 'image') continue;
    const at = `image[${count++}]`;
    const image = reporting(`${file}:${element.line}: ${at}`, onProblem, () => {
      const { name, width, height } = element.attributes;
      if (!name) throw new UsageError('The image has no name.');
      const path = finder.find(name);
      const size = { width: numberOf(width, 'width'), height: numberOf(height, 'height') };
      return newImage(path, finder.nameOf(path), `${file}:${element.line}`, size);
    });
    if (!image) continue;
    addShapes(image, element, at, file, context, left);
    images.push(image);
  }
  if (left.size > 0) {
    const counts = [...left].map(([name, number]) => `${number} <${name}>`).join(', ');
    onProblem({ severity: 'warning', source: file, message: `Left out, because they are not objects: ${counts}.` });
  }
  return { name: file, format: 'cvat', images, labels, subjects: subjectsOf(images, 'objects'), frame: 'upright' };
}

const labelsOf = (element: XmlElement): string[] =>
  element.name === 'label'
    ? [childOf(element, 'name')?.text ?? ''].filter(Boolean)
    : element.children.flatMap(labelsOf);

function addShapes(
  image: ReadImage,
  element: XmlElement,
  at: string,
  file: string,
  { onProblem }: ReadContext,
  left: Map<string, number>,
): void {
  const counts = new Map<string, number>();
  const groups = new Map<string, LabelledObject>();
  for (const shape of element.children) {
    const index = counts.get(shape.name) ?? 0;
    counts.set(shape.name, index + 1);
    const source = `${file}:${shape.line}: ${at}.${shape.name}[${index}]`;
    reporting(source, onProblem, () => {
      if (!isShape(shape.name)) {
        left.set(shape.name, (left.get(shape.name) ?? 0) + 1);
        return;
      }
      const label = shape.attributes.label ?? '';
      const object = SHAPES[shape.name](shape, image);
      const text = shape.children.find(({ name, attributes }) => name === 'attribute' && attributes.name === 'text');
      if (text && object.polygons) {
        image.texts.push({ text: text.text, quad: quadOf(object.polygons[0]) });
        return;
      }
      const group = shape.attributes.group_id;
      const key = group && group !== '0' && object.polygons ? `${group} ${label}` : undefined;
      const same = key === undefined ? undefined : groups.get(key);
      if (same?.polygons) {
        same.polygons.push(...object.polygons!);
        same.box = boundsOf(same.polygons.flat());
        return;
      }
      const labelled = { label, ...object };
      addObject(image, labelled, source, onProblem);
      if (key !== undefined) groups.set(key, labelled);
    });
  }
}

const isShape = (name: string): name is keyof typeof SHAPES => Object.hasOwn(SHAPES, name);

type Shape = Omit<LabelledObject, 'label'>;

const SHAPES = {
  box: ({ attributes }: XmlElement): Shape => {
    const [x1, y1, x2, y2] = ['xtl', 'ytl', 'xbr', 'ybr'].map(name => numberOf(attributes[name], name));
    if (x1 > x2 || y1 > y2)
      throw new UsageError(`The box ${show([x1, y1, x2, y2])} has its corners in the wrong order.`);
    const box: BoxCoordinates = [x1, y1, x2, y2];
    const rotation = attributes.rotation === undefined ? 0 : numberOf(attributes.rotation, 'rotation');
    if (rotation === 0) return { box };
    const quad: QuadCoordinates = turnedCorners(box, [(x1 + x2) / 2, (y1 + y2) / 2], rotation);
    return { box: boundsOf(quad), quad };
  },
  polygon: ({ attributes: { points } }: XmlElement): Shape => {
    const polygon: Polygon = (points ?? '').split(';').flatMap(point => {
      const pair = point.split(',').map(value => numberOf(value, 'points'));
      if (pair.length !== 2) throw new UsageError(`points has ${show(point)}, expected x,y;x,y;….`);
      return pair;
    });
    if (polygon.length < 6) throw new UsageError(`points has ${polygon.length / 2} points, expected at least three.`);
    return { box: boundsOf(polygon), polygons: [polygon.slice()] }; // a copy has no room for more points
  },
  mask: ({ attributes }: XmlElement, { size }: ReadImage): Shape => {
    const [left, top, width, height] = ['left', 'top', 'width', 'height'].map(name => numberOf(attributes[name], name));
    const runs = (attributes.rle ?? '').split(',').map(run => numberOf(run, 'rle'));
    return maskOf({ runs, left, top, width, height }, size!);
  },
};
