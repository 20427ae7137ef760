import { UsageError } from '../errors.ts';
import type { Mask } from './masks.ts';
import type { BoxCoordinates } from './types.ts';

export interface IouOptions {
  /** The second is a crowd: divide by the area of the first, not by the union, as COCO does. Default false. */
  crowd?: boolean;
}

/** Intersection over union of two boxes, 0 to 1. Corners are sorted first; two empty boxes have 0. */
export function boxIou(a: BoxCoordinates, b: BoxCoordinates, { crowd = false }: IouOptions = {}): number {
  const width = overlap(a[0], a[2], b[0], b[2]);
  const height = overlap(a[1], a[3], b[1], b[3]);
  return ratio(width * height, boxArea(a), boxArea(b), crowd);
}

/** Intersection over union of two masks of one size, 0 to 1. Two empty masks have 0. */
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
