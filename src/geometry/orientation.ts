import type { BoxCoordinates, ImageSize } from './types.ts';

/**
 * The eight EXIF orientations: 1 stored upright, 2 mirrored, 3 turned by 180°, 4 upside down and mirrored, 5 to 8 turned
 * by 90° (6: to be turned clockwise, 8: counter-clockwise; 5 and 7 mirrored too).
 */
export type ExifOrientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** Returns the size of an image after its orientation was applied or undone. */
export const turnedSize = ({ width, height }: ImageSize, orientation: ExifOrientation): ImageSize =>
  orientation > 4 ? { width: height, height: width } : { width, height };

/**
 * Returns where points `[x, y, x, y, …]` of the upright image are in the stored one.
 *
 * @param upright size of the upright image
 */
export function storedPoints(points: ArrayLike<number>, upright: ImageSize, orientation: ExifOrientation): number[] {
  const turn = TURNS[orientation];
  return Array.from({ length: points.length >> 1 }, (_, i) =>
    turn(points[2 * i], points[2 * i + 1], upright.width, upright.height),
  ).flat();
}

/** Returns where points of the stored image are in the upright one, whose size is given. */
export function uprightPoints(points: ArrayLike<number>, upright: ImageSize, orientation: ExifOrientation): number[] {
  const inverse: ExifOrientation = orientation === 6 ? 8 : orientation === 8 ? 6 : orientation;
  return storedPoints(points, turnedSize(upright, orientation), inverse);
}

/** Returns a box of the stored image in pixels of the upright one, whose size is given. */
export const uprightBox = (
  box: ArrayLike<number>,
  upright: ImageSize,
  orientation: ExifOrientation,
): ArrayLike<number> => (orientation === 1 ? box : orderedBox(uprightPoints(box, upright, orientation)));

/** Returns a box whose corners were turned, with its corners in order. */
export function orderedBox([x1, y1, x2, y2]: ArrayLike<number> & Iterable<number>): BoxCoordinates {
  return [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
}

/** Where the point (x, y) of the upright image (w x h) is stored. */
const TURNS: Record<ExifOrientation, (x: number, y: number, w: number, h: number) => [x: number, y: number]> = {
  1: (x, y) => [x, y],
  2: (x, y, w) => [w - x, y],
  3: (x, y, w, h) => [w - x, h - y],
  4: (x, y, _, h) => [x, h - y],
  5: (x, y) => [y, x],
  6: (x, y, w) => [y, w - x],
  7: (x, y, w, h) => [h - y, w - x],
  8: (x, y, _, h) => [h - y, x],
};
