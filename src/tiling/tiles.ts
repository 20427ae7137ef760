import type { BoxCoordinates, ImageSize } from '../geometry/types.ts';
import type { RawImage } from '../image/types.ts';
import { checkOptions, count, type OptionTable, onOff, rate, required } from '../options.ts';
import { MERGE_OPTIONS, type MergeOptions } from './merge.ts';

/** Options of tiles; a number is the size alone. */
export interface TileOptions extends MergeOptions {
  /** Side of a tile in pixels of the image. Each tile is resized to the model's size, as an image is. */
  size: number;
  /** Part of its side that a tile shares with the next one, 0 to less than 1. Default 0.2. */
  overlap?: number;
  /** Whether the whole image is read too, for objects that are larger than a tile. Default true. */
  whole?: boolean;
  /** Views that are encoded and answered as one batch. Default 1. */
  batch?: number;
}

/** The kinds of those options. */
export const TILE_OPTIONS: OptionTable<TileOptions> = {
  ...{ ...MERGE_OPTIONS, whole: onOff, batch: count },
  size: required({ ...count, expected: 'a whole number of pixels' }),
  overlap: rate,
};

/**
 * Returns the tiles of an image as boxes of whole pixels, row by row. Tiles at the right and the bottom are moved back
 * into the image, so that all have the same size; an image that is smaller than a tile is one tile.
 *
 * @throws UsageError if the size is not a whole number of at least 1, or the overlap is not in [0, 1)
 */
export function tileBoxes(image: ImageSize, options: Pick<TileOptions, 'size' | 'overlap'>) {
  checkOptions('The tiling', options, TILE_OPTIONS);
  const { size, overlap = 0.2 } = options;
  const step = Math.max(1, size - Math.floor(overlap * size));
  const [columns, rows] = [image.width, image.height].map(length => starts(length, size, step));
  const right = (x: number): number => Math.min(x + size, image.width);
  const bottom = (y: number): number => Math.min(y + size, image.height);
  return rows.flatMap(y => columns.map((x): BoxCoordinates => [x, y, right(x), bottom(y)]));
}

/**
 * Returns the parts of an image that are read: the whole image first, unless `whole` is false, then its tiles. An image
 * with one tile is read once.
 */
export function viewBoxes(image: ImageSize, options: TileOptions): BoxCoordinates[] {
  const tiles = tileBoxes(image, options);
  const whole: BoxCoordinates = [0, 0, image.width, image.height];
  return tiles.length > 1 && options.whole !== false ? [whole, ...tiles] : tiles;
}

/** Returns the pixels of an image inside a box of whole pixels. */
export function cropImage(image: RawImage, [x1, y1, x2, y2]: BoxCoordinates): RawImage {
  const width = x2 - x1;
  const data = new Uint8Array(width * (y2 - y1) * 3);
  for (let y = y1; y < y2; y++) {
    const from = (y * image.width + x1) * 3;
    data.set(image.data.subarray(from, from + width * 3), (y - y1) * width * 3);
  }
  return { data, width, height: y2 - y1 };
}

/** Returns where tiles begin along an axis. */
function starts(length: number, size: number, step: number): number[] {
  const last = Math.max(0, length - size);
  const count = Math.ceil(last / step) + 1;
  return Array.from({ length: count }, (_, i) => Math.min(i * step, last));
}
