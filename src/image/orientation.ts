import { type ExifOrientation, turnedSize } from '../geometry/orientation.ts';
import type { RawImage } from './types.ts';

/** Returns the pixels of an image, turned upright. */
export function uprightImage(stored: RawImage, orientation: ExifOrientation): RawImage {
  if (orientation === 1) return stored;
  const { width, height } = turnedSize(stored, orientation);
  const data = new Uint8Array(stored.data.length);
  // The stored index of the upright pixel (x, y) is linear in x and y: EXIF's table, for whole pixels.
  const last = { x: stored.width - 1, y: (stored.height - 1) * stored.width };
  const [first, right, down] = STEPS[orientation](last.x, last.y, stored.width);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, from = first + y * down; x < width; x++, from += right, to += 3) {
      data[to] = stored.data[3 * from];
      data[to + 1] = stored.data[3 * from + 1];
      data[to + 2] = stored.data[3 * from + 2];
    }
  }
  return { data, width, height };
}

/**
 * The stored index of the first upright pixel, and the steps to its right and lower neighbours, by the index of the last
 * stored column, that of the last stored row, and the stored width.
 */
type Steps = (lastX: number, lastY: number, width: number) => [first: number, right: number, down: number];

const STEPS: Record<ExifOrientation, Steps> = {
  1: (_x, _y, width) => [0, 1, width],
  2: (lastX, _y, width) => [lastX, -1, width],
  3: (lastX, lastY, width) => [lastY + lastX, -1, -width],
  4: (_x, lastY, width) => [lastY, 1, -width],
  5: (_x, _y, width) => [0, width, 1],
  6: (_x, lastY, width) => [lastY, -width, 1],
  7: (lastX, lastY, width) => [lastY + lastX, -width, -1],
  8: (lastX, _y, width) => [lastX, width, -1],
};

/** Returns a warning about an image that is read as stored although it says that it is stored turned. */
export const turnedWarning = (name: string, orientation: ExifOrientation): string =>
  `${name} is stored turned or mirrored (EXIF orientation ${orientation}) and is read as stored, as in the reference: ` +
  'answers about upright pictures are better. Read it upright with orientation "apply", or choose "stored".';
