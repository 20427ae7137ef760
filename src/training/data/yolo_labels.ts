import { extname, sep } from 'node:path';
import type { LabelledObject } from '../../datasets/objects.ts';
import { UsageError } from '../../errors.ts';
import { readLines } from '../../files/lines.ts';
import { show } from '../../json.ts';
import type { ImageSize } from '../../text/locations.ts';
import { type ProblemHandler, reporting } from './problems.ts';

/** An object in parts of the image's width and height. */
export interface YoloRow {
  label: string;
  corners: [x1: number, y1: number, x2: number, y2: number];
  polygon?: number[];
}

/** Where the labels of an image are: the last folder called images becomes labels, the extension .txt. */
export function labelFile(image: string): string {
  const [images, labels] = [`${sep}images${sep}`, `${sep}labels${sep}`];
  const at = image.lastIndexOf(images);
  const path = at < 0 ? image : image.slice(0, at) + labels + image.slice(at + images.length);
  return `${path.slice(0, path.length - extname(path).length)}.txt`;
}

export async function readLabels(
  file: string,
  names: ReadonlyMap<number, string | undefined>,
  onProblem: ProblemHandler,
): Promise<YoloRow[]> {
  const rows: YoloRow[] = [];
  for await (const { line, text } of readLines(file)) {
    const row = reporting(`${file}:${line}`, onProblem, () => readLabel(text, names));
    if (row) rows.push(row);
  }
  return rows;
}

/** Rounding in the tools that write these files puts numbers a little outside of the image. */
const TOLERANCE = 0.01;

/** Undefined for a class whose name a problem was reported of. */
function readLabel(text: string, names: ReadonlyMap<number, string | undefined>): YoloRow | undefined {
  const [number, ...values] = text.split(/\s+/).map(Number);
  if (!names.has(number)) throw new UsageError(`The class of ${show(text)} is not among the ${names.size} names.`);
  const outside = values.find(value => !(value >= -TOLERANCE && value <= 1 + TOLERANCE));
  if (outside !== undefined) {
    throw new UsageError(`${outside} is no part of the image's width or height, 0 to 1. Are these pixels?`);
  }
  const label = names.get(number);
  if (values.length === 4) {
    const [cx, cy, w, h] = values;
    if (w < 0 || h < 0) throw new UsageError(`The box ${values.join(' ')} has a negative width or height.`);
    const corners: YoloRow['corners'] = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
    return label === undefined ? undefined : { label, corners };
  }
  if (values.length < 6 || values.length % 2 !== 0) {
    throw new UsageError(
      `The line has ${values.length + 1} numbers, expected class cx cy w h, or class and x y of at least three points.`,
    );
  }
  const [xs, ys] = [0, 1].map(axis => values.filter((_, i) => i % 2 === axis));
  const corners: YoloRow['corners'] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
  return label === undefined ? undefined : { label, corners, polygon: values };
}

export function toObject({ label, corners, polygon }: YoloRow, image: ImageSize): LabelledObject {
  const pixels = (values: readonly number[]): number[] =>
    values.map((value, i) => value * (i % 2 === 0 ? image.width : image.height));
  const [x1, y1, x2, y2] = pixels(corners);
  return { label, box: [x1, y1, x2, y2], ...(polygon && { polygons: [pixels(polygon)] }) };
}
