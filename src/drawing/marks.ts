import type { ImageSize } from '../geometry/types.ts';
import type { TaskResult } from '../results/types.ts';

/** An object to draw: closed polygons in pixels of the drawing. */
export interface Mark {
  label: string; // empty for none
  color: string;
  fill: number; // opacity, 0 to 1
  polygons: number[][]; // [x1, y1, x2, y2, …]
  /** Bounding box of the polygons. */
  bounds: Rectangle;
}

export type Rectangle = [left: number, top: number, right: number, bottom: number];

/** Consecutive colours differ in hue and lightness, and all contrast with photographs. */
// biome-ignore format: one row
const PALETTE = [
  '#ff3b5c', '#00a8ff', '#2ed573', '#ffb300', '#a55eea', '#00d2d3', '#ff7a1a', '#3d5afe',
  '#c6e03b', '#ff5fc4', '#00b894', '#b5651d', '#7bed9f', '#e84118', '#70a1ff', '#ffe14d',
];

/**
 * Returns the marks of all objects in the results, in pixels of a drawing of the given size, large ones first. Equal
 * labels have equal colours; objects without a label have different colours.
 */
export function marksOf(results: readonly TaskResult[], drawing: ImageSize, withScores: boolean): Mark[] {
  const colorOf = labelColors();
  const marks = results.flatMap(result => {
    const scale = [drawing.width / result.imageSize.width, drawing.height / result.imageSize.height];
    return placesOf(result).flatMap(({ label, confidence, polygons, fill }): Mark[] => {
      const drawn = polygons
        .filter(points => points.length >= 2)
        .map(points => points.map((v, i) => v * scale[i % 2]!));
      if (drawn.length === 0) return [];
      const written = withScores && confidence !== undefined ? `${label} ${confidence.toFixed(2)}`.trim() : label;
      return [{ label: written, color: colorOf(label), fill, polygons: drawn, bounds: boundsOf(drawn.flat()) }];
    });
  });
  return marks.sort((a, b) => area(b.bounds) - area(a.bounds));
}

/** Returns a function that assigns a colour to each label. Each call with an empty label returns the next colour. */
export function labelColors(): (label: string) => string {
  const colors = new Map<string, string>(); // by label
  return label => {
    const key = label === '' ? `\0${colors.size}` : label;
    const color = colors.get(key) ?? PALETTE[colors.size % PALETTE.length]!;
    colors.set(key, color);
    return color;
  };
}

interface Place {
  label: string;
  confidence?: number;
  polygons: number[][];
  fill: number;
}

/** Converts boxes, polygons, quads and phrases to one form. */
function placesOf(result: TaskResult): Place[] {
  const places: Place[] = [];
  if ('boxes' in result) {
    for (const { label, confidence, box } of result.boxes) {
      places.push({ label, confidence, polygons: [corners(box)], fill: 0 });
    }
  }
  if ('instances' in result) for (const instance of result.instances) places.push({ ...instance, fill: 0.42 });
  if ('quads' in result) {
    for (const { text, confidence, quad } of result.quads) {
      places.push({ label: text, confidence, polygons: [quad], fill: 0.12 });
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

/** Returns the texts of all results that have one, trimmed. */
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
