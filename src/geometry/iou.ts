import { UsageError } from '../errors.ts';
import type { Mask } from './masks.ts';
import type { BoxCoordinates } from './types.ts';

/** Options of `boxIou` and `maskIou`. */
export interface IouOptions {
  /** Whether the second is a crowd: the divisor is then the area of the first, as in COCO. Default false. */
  crowd?: boolean;
}

/** Returns the intersection over union of two boxes, 0 to 1; 0 for two empty boxes. Corners may be in any order. */
export function boxIou(a: BoxCoordinates, b: BoxCoordinates, { crowd = false }: IouOptions = {}): number {
  const width = overlap(a[0], a[2], b[0], b[2]);
  const height = overlap(a[1], a[3], b[1], b[3]);
  return ratio(width * height, boxArea(a), boxArea(b), crowd);
}

/**
 * Returns the intersection over union of two masks, 0 to 1; 0 for two empty masks.
 *
 * @throws UsageError if the masks have different sizes
 */
export function maskIou(a: Mask, b: Mask, { crowd = false }: IouOptions = {}): number {
  if (a.width !== b.width || a.height !== b.height) {
    throw new UsageError(`Masks of ${a.width}x${a.height} and ${b.width}x${b.height} pixels cannot be compared.`);
  }
  let [both, areaA, areaB] = [0, 0, 0];
  for (let i = 0; i < a.data.length; i++) {
    areaA += a.data[i];
    areaB += b.data[i];
    both += a.data[i] & b.data[i];
  }
  return ratio(both, areaA, areaB, crowd);
}

function ratio(both: number, areaA: number, areaB: number, crowd: boolean): number {
  const whole = crowd ? areaA : areaA + areaB - both;
  return whole > 0 ? both / whole : 0;
}

const boxArea = ([x1, y1, x2, y2]: BoxCoordinates): number => Math.abs(x2 - x1) * Math.abs(y2 - y1);

const overlap = (a0: number, a1: number, b0: number, b1: number): number =>
  Math.max(0, Math.min(Math.max(a0, a1), Math.max(b0, b1)) - Math.max(Math.min(a0, a1), Math.min(b0, b1)));
