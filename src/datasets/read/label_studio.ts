import { dirname, join } from 'node:path';
import { Florence2Error, UsageError } from '../../errors.ts';
import { boundsOf } from '../../geometry/clip.ts';
import type { BoxCoordinates, ImageSize, Polygon } from '../../geometry/types.ts';
import { isRecord } from '../../json.ts';
import { show } from '../../show.ts';
import type { LabelledObject } from '../annotation.ts';
import { IMAGE_NAME } from '../find_images.ts';
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
import { decodeBrush } from './brush.ts';
import { readJsonItems } from './json_items.ts';
import { cornersOf, quadOf, turnedCorners } from './shapes.ts';

/**
 * Reads an export of Label Studio: a list of tasks with annotations, or with predictions. Of several annotations of a task
 * the last that was not cancelled is read, and of predictions the last. Rectangles (also turned ones), polygons and brushes
 * are objects; a textarea is a caption or, if a region has its id, a line of text.
 *
 * @throws Florence2Error that names the file and the invalid entry, unless the context handles problems
 */
export async function readLabelStudio(file: string, context: ReadContext): Promise<ReadSet> {
  const { onProblem } = context;
  const finder = context.images.within(join(dirname(file), 'images'), dirname(file));
  const images: ReadImage[] = [];
  let count = 0;
  const json = await readJsonItems(file, '[', (entry, i) => {
    count++;
    const source = `${file}: [${i}]`;
    reporting(source, onProblem, () => {
      const task = record(entry);
      const path = finder.find(imageAddress(task.data));
      const image = newImage(path, finder.nameOf(path), source);
      const { at, results } = chosenResults(task);
      image.size = results.map(sizeOf).find(size => size !== undefined);
      addResults(image, results, `${source}${at}`, context);
      images.push(image);
    });
  });
  if (count === 0) throw new Florence2Error(`${file} holds ${show(json)}, expected a list of tasks.`);
  return { name: file, format: 'label-studio', images, subjects: subjectsOf(images, 'objects'), frame: 'upright' };
}

/** Returns the path in a task's data, of an upload (`/data/upload/…`), a local file (`/data/local-files/?d=…`) or another. */
function imageAddress(data: unknown): string {
  const values = isRecord(data) ? [data.image, ...Object.values(data)] : [];
  const address = values.find((value): value is string => typeof value === 'string' && IMAGE_NAME.test(value));
  if (address === undefined) throw new UsageError(`data is ${show(data)}, expected the address of an image.`);
  const [, local] = /\/data\/local-files\/\?d=([^&]*)/.exec(address) ?? [];
  try {
    return local === undefined ? address : `/${decodeURIComponent(local)}`;
  } catch {
    throw new UsageError(`data has ${show(address)}, whose percent-encoding is invalid.`);
  }
}

function chosenResults(task: Record<string, unknown>): { at: string; results: Record<string, unknown>[] } {
  for (const field of ['annotations', 'completions', 'predictions']) {
    const all = task[field];
    const index = Array.isArray(all) ? all.findLastIndex(one => isRecord(one) && one.was_cancelled !== true) : -1;
    if (index < 0) continue;
    const { result } = record((all as unknown[])[index]);
    if (!Array.isArray(result)) throw new UsageError(`${field}[${index}].result is ${show(result)}, expected a list.`);
    return { at: `.${field}[${index}]`, results: result.map(record) };
  }
  return { at: '', results: [] };
}

function sizeOf({ original_width: width, original_height: height }: Record<string, unknown>): ImageSize | undefined {
  return typeof width === 'number' && typeof height === 'number' && width > 0 && height > 0
    ? { width, height }
    : undefined;
}

function addResults(
  image: ReadImage,
  results: Record<string, unknown>[],
  at: string,
  { onProblem }: ReadContext,
): void {
  const written = new Map(results.filter(isTextarea).map(({ id, value }) => [id, textsOf(value)]));
  const regions = new Set(results.filter(result => !isTextarea(result)).map(({ id }) => id));
  for (const [i, result] of results.entries()) {
    const source = `${at}.result[${i}]`;
    const { id, type, value, score } = result;
    reporting(source, onProblem, () => {
      if (isTextarea(result)) {
        if (!regions.has(id)) image.captions.push(...textsOf(value));
        return;
      }
      const read = SHAPES.find(([name]) => String(type).startsWith(name))?.[1];
      if (!read) {
        const message = `A result of type ${show(type)} is left out: it is not an object.`;
        onProblem({ severity: 'warning', source, message });
        return;
      }
      const size = sizeOf(result) ?? image.size;
      if (!size) throw new UsageError('The result has no original_width and original_height.');
      const shape = read(record(value), size);
      const { box } = shape;
      if (box[0] < -1 || box[1] < -1 || box[2] > size.width + 1 || box[3] > size.height + 1) {
        const message = `The region ${show(box)} extends outside the image of ${size.width}x${size.height}.`;
        onProblem({ severity: 'warning', source, message });
      }
      const scored = typeof score === 'number' ? { score } : {};
      const text = written.get(id);
      const labels = record(value)[String(type)];
      const label = Array.isArray(labels) ? labels[0] : undefined;
      if (text && label === undefined) {
        const quad = shape.quad ?? quadOf(shape.polygons?.[0] ?? cornersOf(box));
        image.texts.push({ text: text.join('\n'), quad, ...scored });
      } else addObject(image, { label: label as string, ...shape, ...scored }, source, onProblem);
    });
  }
}

const isTextarea = ({ type }: Record<string, unknown>): boolean => type === 'textarea';

function textsOf(value: unknown): string[] {
  const text = isRecord(value) ? value.text : undefined;
  return [text].flat().filter((line): line is string => typeof line === 'string');
}

type Shape = Omit<LabelledObject, 'label'>;

/** How the value of a result is read, by the start of its type. Values are percent of width and height. */
const SHAPES: [type: string, read: (value: Record<string, unknown>, size: ImageSize) => Shape][] = [
  [
    'rectangle',
    (value, { width, height }) => {
      const [x, y, w, h] = ['x', 'y', 'width', 'height'].map(
        (name, i) => ((i % 2 ? height : width) * finite(value[name], name)) / 100,
      );
      if (w < 0 || h < 0) throw new UsageError('The rectangle has a negative width or height.');
      const box: BoxCoordinates = [x, y, x + w, y + h];
      const rotation = value.rotation === undefined ? 0 : finite(value.rotation, 'rotation');
      if (rotation === 0) return { box };
      const quad = turnedCorners(box, [x, y], rotation);
      return { box: boundsOf(quad), quad };
    },
  ],
  [
    'polygon',
    ({ points }, { width, height }) => {
      const pairs = Array.isArray(points) ? points : [];
      const polygon: Polygon = pairs.flatMap((pair, i) => {
        if (!Array.isArray(pair) || pair.length !== 2) throw new UsageError(`points[${i}] is ${show(pair)}.`);
        return [(finite(pair[0], 'points') * width) / 100, (finite(pair[1], 'points') * height) / 100];
      });
      if (polygon.length < 6) throw new UsageError(`points has ${polygon.length / 2} points, expected at least three.`);
      return { box: boundsOf(polygon), polygons: [polygon.slice()] }; // a copy has no room for more points
    },
  ],
  ['brush', ({ rle }, size) => decodeBrush(rle, size)],
];

function finite(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new UsageError(`${name} is ${show(value)}, expected a number.`);
}
