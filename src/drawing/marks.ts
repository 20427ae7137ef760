import type { ImageSize } from '../geometry/types.ts';
import type { TaskResult } from '../results/types.ts';

/** Something to draw at a place: closed polygons in pixels of the drawing. */
export interface Mark {
  label: string; // empty: none
  color: string;
  fill: number; // opacity, 0 to 1
  polygons: number[][]; // [x1, y1, x2, y2, …]
  /** What the label belongs to, [left, top, right, bottom]. */
  bounds: Rectangle;
}

export type Rectangle = [left: number, top: number, right: number, bottom: number];

/** Neighbours in the list differ in hue and lightness, and all stand out from photographs. */
// biome-ignore format: one row
const palette = [
  '#ff3b5c', '#00a8ff', '#2ed573', '#ffb300', '#a55eea', '#00d2d3', '#ff7a1a', '#3d5afe',
  '#c6e03b', '#ff5fc4', '#00b894', '#b5651d', '#7bed9f', '#e84118', '#70a1ff', '#ffe14d',
];

/**
 * Everything in the results that has a place, in pixels of a drawing of the given size. Equal labels have equal
 * colours, things without one differ from each other; large things come before small ones.
 */
export function marksOf(results: readonly TaskResult[], drawing: ImageSize, withScores: boolean): Mark[] {
  const colorOf = labelColors();
  const marks = results.flatMap(result => {
    const scale = [drawing.width / result.imageSize.width, drawing.height / result.imageSize.height];
    return placesOf(result).flatMap(({ label, score, polygons, fill }): Mark[] => {
      const drawn = polygons
        .filter(points => points.length >= 2)
        .map(points => points.map((v, i) => v * scale[i % 2]!));
      if (drawn.length === 0) return [];
      const written = withScores && score !== undefined ? `${label} ${score.toFixed(2)}`.trim() : label;
      return [{ label: written, color: colorOf(label), fill, polygons: drawn, bounds: boundsOf(drawn.flat()) }];
    });
  });
  return marks.sort((a, b) => area(b.bounds) - area(a.bounds));
}

/** Gives each label a colour of its own, the same when it comes again; what has none gets another each time. */
export function labelColors(): (label: string) => string {
  const colors = new Map<string, string>(); // by label
  return label => {
    const key = label === '' ? `\0${colors.size}` : label;
    const color = colors.get(key) ?? palette[colors.size % palette.length]!;
    colors.set(key, color);
    return color;
  };
}

interface Place {
  label: string;
  score?: number;
  polygons: number[][];
  fill: number;
}

/** Boxes, polygons, quads and phrases in one form. */
function placesOf(result: TaskResult): Place[] {
  const places: Place[] = [];
  if ('boxes' in result) {
    for (const { label, score, box } of result.boxes) places.push({ label, score, polygons: [corners(box)], fill: 0 });
  }
  if ('instances' in result) for (const instance of result.instances) places.push({ ...instance, fill: 0.42 });
  if ('quads' in result) {
    for (const { text, score, quad } of result.quads) places.push({ label: text, score, polygons: [quad], fill: 0.12 });
  }
  if ('phrases' in result) {
    for (const { phrase, score, boxes } of result.phrases) {
      for (const b of boxes) {
        places.push({ label: phrase, score: b.score ?? score, polygons: [corners(b.box)], fill: 0 });
      }
    }
  }
  return places;
}

/** What the results say in words. */
export const textsOf = (results: readonly TaskResult[]): string[] =>
  results.flatMap(result => ('text' in result && result.text.trim() !== '' ? [result.text.trim()] : []));

const corners = ([x1, y1, x2, y2]: readonly number[]): number[] => [x1!, y1!, x2!, y1!, x2!, y2!, x1!, y2!];

function boundsOf(points: number[]): Rectangle {
  const bounds: Rectangle = [Infinity, Infinity, -Infinity, -Infinity];
  points.forEach((value, i) => {
    bounds[i % 2] = Math.min(bounds[i % 2]!, value);
    bounds[2 + (i % 2)] = Math.max(bounds[2 + (i % 2)]!, value);
  });
  return bounds;
}

export const area = ([left, top, right, bottom]: Rectangle): number =>
  Math.max(0, right - left) * Math.max(0, bottom - top);
