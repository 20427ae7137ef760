import { UsageError } from '../errors.ts';
import type { BoxCoordinates, ImageSize } from '../geometry/types.ts';
import { checkKind, type Kind, listOf, whole } from '../options.ts';

/**
 * Number of location tokens. Florence-2 writes coordinates as `<loc_0>` to `<loc_999>`: thousandths of the image's
 * width (x) or height (y). All arithmetic in this file is float32, as in the reference; float64 would select other bins
 * at the edges.
 */
export const LOCATION_BINS = 1000;

const BINS: Kind = listOf(
  { expected: 'a bin', allows: value => whole.allows(value) && (value as number) < LOCATION_BINS },
  `whole numbers from 0 to ${LOCATION_BINS - 1}`,
);

/** The token ids of the location bins: `count` ids from `first`, in the order of the bins. */
export interface LocationTokens {
  readonly first: number;
  readonly count: number;
}

/** Returns the ids of a tokenizer's location tokens. */
export const locationTokens = (tokenizer: { tokenToId(token: string): number | undefined }): LocationTokens => ({
  first: tokenizer.tokenToId('<loc_0>')!,
  count: LOCATION_BINS,
});

/** Returns the bin of a coordinate, 0 to 999. Coordinates outside the image get the first or last bin. */
export function quantize(value: number, size: number): number {
  const bin = Math.floor(Math.fround(Math.fround(value) / Math.fround(size / LOCATION_BINS)));
  return Math.min(Math.max(bin, 0), LOCATION_BINS - 1);
}

/** Returns the centre of a bin in pixels. */
export function dequantize(bin: number, size: number): number {
  return Math.fround(Math.fround(bin + 0.5) * Math.fround(size / LOCATION_BINS));
}

/**
 * Converts points `[x1, y1, x2, y2, …]` in pixels (a box, quad or polygon) to bins.
 *
 * @throws UsageError for coordinates that are not finite, or an image without pixels
 */
export function quantizePoints(points: ArrayLike<number>, image: ImageSize): number[] {
  checkSize(image);
  return Array.from(points, (value, i) => {
    if (!Number.isFinite(value)) throw new UsageError(`Coordinate ${i} is ${value}, expected a number of pixels.`);
    return quantize(value, axis(i, image));
  });
}

/** Converts bins `[x1, y1, x2, y2, …]` to pixels. */
export function dequantizePoints(bins: ArrayLike<number>, image: ImageSize): number[] {
  checkSize(image);
  return Array.from(bins, (bin, i) => dequantize(bin, axis(i, image)));
}

/** Converts a box `[x1, y1, x2, y2]` in pixels to bins. */
export function quantizeBox(box: ArrayLike<number>, image: ImageSize): BoxCoordinates {
  if (box.length !== 4) throw new UsageError(`A box has 4 numbers x1,y1,x2,y2, not ${box.length}.`);
  return quantizePoints(box, image) as BoxCoordinates;
}

/** Converts a box of bins to pixels. */
export function dequantizeBox(bins: ArrayLike<number>, image: ImageSize): BoxCoordinates {
  if (bins.length !== 4) throw new UsageError(`A box has 4 bins x1,y1,x2,y2, not ${bins.length}.`);
  return dequantizePoints(bins, image) as BoxCoordinates;
}

/** Returns the location tokens of bins: `<loc_12><loc_340>…` @throws UsageError for other numbers than 0 to 999 */
export function binsToTokens(bins: readonly number[]): string {
  checkKind('bins', bins, BINS);
  return bins.map(bin => `<loc_${bin}>`).join('');
}

/** Returns a box in pixels as the location tokens of a prompt's region: `<loc_52><loc_332><loc_932><loc_774>`. */
export const boxToTokens = (box: ArrayLike<number>, image: ImageSize): string => binsToTokens(quantizeBox(box, image));

/** Returns points in pixels (a quad or polygon) as location tokens. */
export const pointsToTokens = (points: ArrayLike<number>, image: ImageSize): string =>
  binsToTokens(quantizePoints(points, image));

/** Returns labelled boxes as the model writes them: each label, followed by its four location tokens, no separators. */
export function boxesToText(boxes: Iterable<{ label: string; box: ArrayLike<number> }>, image: ImageSize): string {
  return Array.from(boxes, ({ label, box }) => label + boxToTokens(box, image)).join('');
}

const axis = (i: number, image: ImageSize): number => (i % 2 === 0 ? image.width : image.height);

function checkSize({ width, height }: ImageSize): void {
  if (width > 0 && height > 0 && Number.isFinite(width * height)) return;
  throw new UsageError(`The image size is ${width}x${height}, expected at least 1x1.`);
}
