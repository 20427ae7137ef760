import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { readTextFile } from '../../files/whole_file.ts';
import { boundsOf } from '../../geometry/clip.ts';
import type { BoxCoordinates, Polygon } from '../../geometry/types.ts';
import { decodeImage } from '../../image/decode.ts';
import type { RawImage } from '../../image/types.ts';
import { isRecord, parseJsonObject } from '../../json.ts';
import { show } from '../../show.ts';
import type { LabelledObject } from '../annotation.ts';
import { filesInFolder } from '../find_images.ts';
import {
  addObject,
  newImage,
  type ReadContext,
  type ReadImage,
  type ReadSet,
  record,
  reporting,
  subjectsOf,
} from '../reading.ts';
import { maskOf, quadOf } from './shapes.ts';

/**
 * Reads LabelMe: a JSON file for each image. Shapes of one label with the same `group_id` are the parts of one object.
 * Polygons with the label `text` and a description are lines of text. Points and lines are left out, with a warning.
 *
 * @param path a folder, or one file
 * @throws Florence2Error that names the file and the invalid entry, unless the context handles problems
 */
export async function readLabelme(path: string, context: ReadContext): Promise<ReadSet> {
  const { onProblem } = context;
  const isFile = (await stat(path)).isFile();
  const folder = isFile ? dirname(path) : path;
  const images: ReadImage[] = [];
  for (const name of isFile ? [basename(path)] : await filesInFolder(folder, /\.json$/)) {
    const file = join(folder, name);
    const finder = context.images.within(dirname(file), folder);
    const json = await readFile(file, onProblem);
    if (!Array.isArray(json?.shapes)) continue;
    const image = reporting(file, onProblem, () => {
      const { imagePath, imageWidth: width, imageHeight: height } = json;
      if (typeof imagePath !== 'string') throw new UsageError(`imagePath is ${show(imagePath)}, expected a path.`);
      const path = finder.find(imagePath);
      const size = typeof width === 'number' && typeof height === 'number' ? { width, height } : undefined;
      return newImage(path, context.images.within(folder).nameOf(path), file, size);
    });
    if (!image) continue;
    const masks = await decodeMasks(json.shapes, file, onProblem);
    addShapes(image, json.shapes, masks, file, context);
    images.push(image);
  }
  return { name: path, format: 'labelme', images, subjects: subjectsOf(images, 'objects'), frame: 'upright' };
}

async function readFile(
  file: string,
  onProblem: ReadContext['onProblem'],
): Promise<Record<string, unknown> | undefined> {
  try {
    return parseJsonObject(await readTextFile(file), file);
  } catch (error) {
    if (!(error instanceof Florence2Error)) throw error;
    onProblem({ severity: 'error', source: file, message: error.message });
    return undefined;
  }
}

/** Decodes the pictures of masks, by the index of the shape. */
async function decodeMasks(
  shapes: unknown[],
  file: string,
  onProblem: ReadContext['onProblem'],
): Promise<Map<number, RawImage>> {
  const masks = new Map<number, RawImage>();
  for (const [i, shape] of shapes.entries()) {
    if (!isRecord(shape) || shape.shape_type !== 'mask' || typeof shape.mask !== 'string') continue;
    try {
      masks.set(i, await decodeImage(Buffer.from(shape.mask, 'base64')));
    } catch (error) {
      if (!(error instanceof Florence2Error)) throw error;
      const message = `The mask cannot be decoded: ${error.message}`;
      onProblem({ severity: 'error', source: `${file}: shapes[${i}]`, message });
    }
  }
  return masks;
}

function addShapes(
  image: ReadImage,
  shapes: unknown[],
  masks: ReadonlyMap<number, RawImage>,
  file: string,
  { onProblem }: ReadContext,
): void {
  const groups = new Map<string, LabelledObject>();
  for (const [i, entry] of shapes.entries()) {
    const source = `${file}: shapes[${i}]`;
    reporting(source, onProblem, () => {
      const shape = record(entry);
      const { label, group_id, description, shape_type = 'polygon' } = shape;
      const kind = String(shape_type);
      if (kind === 'mask') {
        const mask = masks.get(i);
        if (mask) addObject(image, { label: label as string, ...readMask(shape, mask, image) }, source, onProblem);
        else if (typeof shape.mask !== 'string')
          throw new UsageError(`mask is ${show(shape.mask)}, expected a picture.`);
        return;
      }
      if (!Object.hasOwn(SHAPES, kind)) {
        const message = `The shape_type ${show(shape_type)} is left out: it is not an object.`;
        onProblem({ severity: 'warning', source, message });
        return;
      }
      const object = SHAPES[kind as keyof typeof SHAPES](pointsOf(shape));
      if (label === 'text' && typeof description === 'string' && description !== '' && object.polygons) {
        image.texts.push({ text: description, quad: quadOf(object.polygons[0]) });
        return;
      }
      const key = group_id === null || group_id === undefined ? undefined : `${group_id} ${label}`;
      const same = key === undefined ? undefined : groups.get(key);
      if (same) {
        if (same.polygons && object.polygons) same.polygons.push(...object.polygons);
        same.box = boundsOf([...same.box, ...object.box]);
        return;
      }
      const labelled = { label: label as string, ...object };
      addObject(image, labelled, source, onProblem);
      if (key !== undefined) groups.set(key, labelled);
    });
  }
}

function pointsOf({ points, shape_type }: Record<string, unknown>): Polygon {
  const isPair = (pair: unknown): pair is [number, number] =>
    Array.isArray(pair) && pair.length === 2 && pair.every(Number.isFinite);
  if (!Array.isArray(points) || !points.every(isPair))
    throw new UsageError(`points is ${show(points)}, expected [[x, y], …].`);
  const counts: Record<string, number> = { rectangle: 2, circle: 2, mask: 2, oriented_rectangle: 4 };
  const expected = counts[String(shape_type)];
  if (expected === undefined ? points.length < 3 : points.length !== expected) {
    throw new UsageError(`A ${shape_type} has ${points.length} points, expected ${expected ?? 'at least 3'}.`);
  }
  return points.flat();
}

/** Returns the mask of a shape: a picture of the part of the image between two points, not 0 inside. */
function readMask(shape: Record<string, unknown>, { data, width, height }: RawImage, { size }: ReadImage): Shape {
  const [left, top] = pointsOf(shape).map(Math.trunc);
  if (!size) throw new UsageError('The file has no imageWidth and imageHeight, which masks need.');
  const runs: number[] = [];
  for (let i = 0, last = 0, inside = false; i <= width * height; i++) {
    if (i < width * height && data[3 * i] > 0 === inside) continue;
    runs.push(i - last);
    [last, inside] = [i, !inside];
  }
  return maskOf({ runs, left, top, width, height }, size);
}

type Shape = Omit<LabelledObject, 'label'>;

const SHAPES = {
  rectangle: (points: Polygon): Shape => ({ box: boundsOf(points) }),
  oriented_rectangle: (points: Polygon): Shape => ({ box: boundsOf(points), quad: quadOf(points) }),
  polygon: (points: Polygon): Shape => ({ box: boundsOf(points), polygons: [points] }),
  /** The centre and a point of the border. */
  circle: ([cx, cy, x, y]: Polygon): Shape => {
    const radius = Math.hypot(x - cx, y - cy);
    const box: BoxCoordinates = [cx - radius, cy - radius, cx + radius, cy + radius];
    return { box };
  },
};
