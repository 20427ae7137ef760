import { UsageError } from '../../errors.ts';
import { boundsOf } from '../../geometry/clip.ts';
import { maskBounds } from '../../geometry/masks.ts';
import { encodeRle, type RunLengths } from '../../geometry/rle.ts';
import type { BoxCoordinates, ImageSize, Polygon, QuadCoordinates } from '../../geometry/types.ts';

/** Returns the corners of a box, clockwise from the top left one. */
export const cornersOf = ([x1, y1, x2, y2]: BoxCoordinates): QuadCoordinates => [x1, y1, x2, y1, x2, y2, x1, y2];

/** Returns a polygon of four points as it is, else the corners of its bounds. */
export const quadOf = (polygon: Polygon): QuadCoordinates =>
  polygon.length === 8 ? (polygon as QuadCoordinates) : cornersOf(boundsOf(polygon));

/** Returns the corners of a box that is turned clockwise around a point. */
export function turnedCorners(box: BoxCoordinates, [px, py]: [x: number, y: number], degrees: number): QuadCoordinates {
  const [sin, cos] = [Math.sin((degrees * Math.PI) / 180), Math.cos((degrees * Math.PI) / 180)];
  const corners = cornersOf(box);
  return corners.map((_, i) => {
    const [dx, dy] = [corners[i - (i % 2)] - px, corners[i - (i % 2) + 1] - py];
    return i % 2 === 0 ? px + dx * cos - dy * sin : py + dx * sin + dy * cos;
  }) as QuadCoordinates;
}

/** A mask in a part of an image: runs of 0 and 1 row by row, starting with 0. */
export interface PartialMask extends ImageSize {
  runs: readonly number[];
  left: number;
  top: number;
}

/** Most pixels of a mask. */
const MOST_PIXELS = 2 ** 28;

/** Returns a mask of a part of an image as a mask of the whole image, and its bounds. @throws UsageError if it does not fit */
export function maskOf(
  { runs, left, top, width, height }: PartialMask,
  image: ImageSize,
): { box: BoxCoordinates; mask: RunLengths } {
  const isWhole = [left, top, width, height, image.width, image.height].every(Number.isSafeInteger);
  if (!isWhole || left < 0 || top < 0 || left + width > image.width || top + height > image.height) {
    throw new UsageError(
      `The mask of ${width}x${height} pixels at ${left}, ${top} does not fit the image of ${image.width}x${image.height}.`,
    );
  }
  if (image.width * image.height > MOST_PIXELS) throw new UsageError(`The mask has more than ${MOST_PIXELS} pixels.`);
  const total = runs.reduce((sum, run) => sum + (Number.isSafeInteger(run) && run >= 0 ? run : Number.NaN), 0);
  if (total !== width * height) {
    throw new UsageError(`The run lengths of the mask add up to ${total} pixels, expected ${width * height}.`);
  }
  const data = new Uint8Array(image.width * image.height);
  let position = 0;
  for (const [i, run] of runs.entries()) {
    for (const end = position + run; position < end; position++) {
      if (i % 2) data[(top + Math.floor(position / width)) * image.width + left + (position % width)] = 1;
    }
  }
  const mask = { data, width: image.width, height: image.height };
  const [x, y, w, h] = maskBounds(mask);
  if (w === 0) throw new UsageError('The mask is empty.');
  return { box: [x, y, x + w, y + h], mask: encodeRle(mask) };
}
