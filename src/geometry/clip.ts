import type { BoxCoordinates } from './types.ts';

type Point = [x: number, y: number];

/**
 * Returns the part of a polygon inside a window (Sutherland and Hodgman 1974). If a concave polygon falls into several
 * parts, they stay connected along the window's edge.
 */
export function clipPolygon(polygon: ArrayLike<number>, [x1, y1, x2, y2]: BoxCoordinates): number[] {
  let points = Array.from({ length: polygon.length >> 1 }, (_, i): Point => [polygon[2 * i], polygon[2 * i + 1]]);
  points = clipSide(points, 0, x => x - x1);
  points = clipSide(points, 0, x => x2 - x);
  points = clipSide(points, 1, y => y - y1);
  points = clipSide(points, 1, y => y2 - y);
  return points.flat();
}

/** @param depth distance of a coordinate from the side, negative outside */
function clipSide(points: Point[], axis: 0 | 1, depth: (coordinate: number) => number): Point[] {
  return points.flatMap((to, i) => {
    const from = points.at(i - 1)!;
    const [before, now] = [depth(from[axis]), depth(to[axis])];
    if (before >= 0 === now >= 0) return now >= 0 ? [to] : [];
    const share = before / (before - now);
    const crossing: Point = [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])];
    return now >= 0 ? [crossing, to] : [crossing];
  });
}

/** Returns the area of a polygon by the shoelace formula. */
export function polygonArea(polygon: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < polygon.length; i += 2) {
    const next = (i + 2) % polygon.length;
    sum += polygon[i] * polygon[next + 1] - polygon[next] * polygon[i + 1];
  }
  return Math.abs(sum) / 2;
}

/** Returns a box with its corners moved into a window. */
export const clampBox = (box: ArrayLike<number>, window: BoxCoordinates): BoxCoordinates =>
  Array.from(box, (value, i) => clamp(value, window[i % 2], window[2 + (i % 2)])) as BoxCoordinates;

/** Returns the number from `least` to `most` that is nearest to a value. */
export const clamp = (value: number, least: number, most: number): number => Math.min(Math.max(value, least), most);
/** Returns the smallest box that contains all points. */
export function boundsOf(points: ArrayLike<number>): BoxCoordinates {
  const box: BoxCoordinates = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < points.length; i++) {
    box[i % 2] = Math.min(box[i % 2], points[i]);
    box[2 + (i % 2)] = Math.max(box[2 + (i % 2)], points[i]);
  }
  return box;
}
