import { UsageError } from '../errors.ts';
import type { RawImage } from '../image/types.ts';
import type { TaskResult } from '../results/types.ts';
import { taskInfo } from '../text/tasks.ts';
import { type Lab, labelColors, toLab } from './colors.ts';

/** An object to draw: closed polygons in pixels of the drawing. */
export interface Mark {
  label: string; // empty for none
  color: string;
  fill: number; // opacity, 0 to 1
  lineWidth: number;
  polygons: number[][]; // [x1, y1, x2, y2, …]
  /** Bounding box of the object. */
  bounds: Rectangle;
  /** Bounding box of the drawn lines, with their rim. */
  frame: Rectangle;
}

export type Rectangle = [left: number, top: number, right: number, bottom: number];

/** Width of an outline's dark rim, as a multiple of the line that covers its middle. */
export const RIM = 1.9;

/**
 * Returns the marks of all objects in the results, in pixels of the drawing, large ones first. Equal labels have equal
 * colours; objects without a label have different colours.
 *
 * @param image the image in the size of the drawing
 * @param lineWidth width of the lines of large objects
 */
export function marksOf(
  results: readonly TaskResult[],
  image: RawImage,
  { scores, lineWidth }: { scores: boolean; lineWidth: number },
): Mark[] {
  const places = results.flatMap(result => {
    const scale = [image.width / result.imageSize.width, image.height / result.imageSize.height];
    return placesOf(result).map(({ polygons, ...place }) => {
      if (!polygons.flat().every(Number.isFinite)) {
        throw new UsageError(`draw: an object of ${result.task} has coordinates that are not numbers.`);
      }
      const scaled = polygons.map(points => points.map((v, i) => v * scale[i % 2]!));
      return { ...place, polygons: scaled, underneath: colorsUnder(scaled, image) };
    });
  });
  const colorOf = labelColors();
  const marks = places.map(({ label, confidence, polygons, fill, isMask, underneath }, i): Mark => {
    const equal = label === '' ? [underneath] : places.slice(i).flatMap(p => (p.label === label ? [p.underneath] : []));
    const color = colorOf(label, () => equal.flat());
    const written = scores && confidence !== undefined ? `${label} ${confidence.toFixed(2)}`.trim() : label;
    const bounds = boundsOf(polygons.flat());
    const width = lineWidthOf(bounds, lineWidth);
    const drawn = width < lineWidth && !isMask ? polygons.map(points => around(points, bounds, width)) : polygons;
    const frame = grown(boundsOf(drawn.flat()), (RIM / 2) * width);
    return { label: written, color, fill, lineWidth: width, polygons: drawn, bounds, frame };
  });
  return marks.sort((a, b) => area(b.bounds) - area(a.bounds));
}

interface Place {
  label: string;
  confidence?: number;
  polygons: number[][];
  fill: number;
  /** Whether the polygons are the outline of the object itself. */
  isMask?: boolean;
}

/** Converts boxes, polygons, quads and phrases to one form. Polygons without a point are omitted. */
function placesOf(result: TaskResult): Place[] {
  const places: Place[] = [];
  if ('boxes' in result) {
    for (const { label, confidence, box } of result.boxes) {
      places.push({ label, confidence, polygons: [corners(box)], fill: 0 });
    }
  }
  if ('instances' in result) {
    for (const { label, confidence, polygons } of result.instances) {
      const drawn = polygons.filter(points => points.length >= 2).map(points => [...points]);
      if (drawn.length > 0) places.push({ label, confidence, polygons: drawn, fill: 0.42, isMask: true });
    }
  }
  if ('quads' in result) {
    for (const { text, confidence, quad } of result.quads) {
      places.push({ label: text, confidence, polygons: [[...quad]], fill: 0.12 });
    }
  }
  if ('phrases' in result) {
    for (const { phrase, boxes } of result.phrases) {
      for (const { box, confidence } of boxes) {
        places.push({ label: phrase, confidence, polygons: [corners(box)], fill: 0 });
      }
    }
  }
  return places;
}

/** Returns the texts of all results that have one, trimmed, and for results without any content that they are empty. */
export function textsOf(results: readonly TaskResult[]): string[] {
  return results.flatMap(result => {
    const text = 'text' in result ? result.text.trim() : '';
    if (text !== '') return [text];
    if (placesOf(result).length > 0) return [];
    const what = 'text' in result ? 'Empty answer' : 'Nothing found';
    return [`${what} (${taskInfo(result.task)?.name ?? result.task})`];
  });
}

/** Small objects have thinner lines. */
const lineWidthOf = ([left, top, right, bottom]: Rectangle, lineWidth: number): number =>
  Math.max(2, Math.min(lineWidth, Math.round(Math.min(right - left, bottom - top) / 12)));

/** Moves the corners of a small box or quad outwards, so that neither the line nor its rim covers the object. */
function around(points: readonly number[], bounds: Rectangle, lineWidth: number): number[] {
  const centre = [(bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2];
  return points.map((value, i) => value + Math.sign(value - centre[i % 2]!) * (RIM / 2) * lineWidth);
}

/** Samples on each side of an outline, and on each side of the grid inside it. */
const SAMPLES = 8;

/** Returns the colours along the sides of an object and inside its bounding box. */
function colorsUnder(polygons: readonly number[][], { data, width, height }: RawImage): Lab[] {
  const colors: Lab[] = [];
  const sample = (x: number, y: number): void => {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= width || row >= height) return;
    const at = 3 * (row * width + column);
    colors.push(toLab([data[at]!, data[at + 1]!, data[at + 2]!]));
  };
  const steps = Array.from({ length: SAMPLES }, (_, i) => (i + 0.5) / SAMPLES);
  const [left, top, right, bottom] = boundsOf(polygons.flat());
  for (const u of steps) for (const v of steps) sample(left + u * (right - left), top + v * (bottom - top));
  for (const points of polygons) {
    const next = (i: number): number => points[(i + 2) % points.length]!;
    for (let i = 0; i + 1 < points.length; i += 2) {
      for (const u of steps) sample(points[i]! + u * (next(i) - points[i]!), points[i + 1]! + u * (next(i + 1) - points[i + 1]!)); // biome-ignore format: one line
    }
  }
  return colors;
}

const corners = ([x1, y1, x2, y2]: readonly number[]): number[] => [x1!, y1!, x2!, y1!, x2!, y2!, x1!, y2!];

function boundsOf(points: number[]): Rectangle {
  const bounds: Rectangle = [Infinity, Infinity, -Infinity, -Infinity];
  points.forEach((value, i) => {
    bounds[i % 2] = Math.min(bounds[i % 2]!, value);
    bounds[2 + (i % 2)] = Math.max(bounds[2 + (i % 2)]!, value);
  });
  return bounds;
}

const grown = ([left, top, right, bottom]: Rectangle, by: number): Rectangle => [left - by, top - by, right + by, bottom + by]; // biome-ignore format: one line

export const area = ([left, top, right, bottom]: Rectangle): number =>
  Math.max(0, right - left) * Math.max(0, bottom - top);
