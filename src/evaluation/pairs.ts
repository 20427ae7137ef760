import { boxIou, type IouOptions } from '../geometry/iou.ts';
import type { BoxCoordinates } from '../geometry/types.ts';

/** What has a box. */
export interface Placed {
  box: ArrayLike<number>; // [x1, y1, x2, y2]
}

/** A true box and the box that was found for it. If no box overlaps it, `found` is undefined and `iou` is 0. */
export interface Pair<T, F> {
  truth: T;
  found?: F;
  iou: number;
}

/** Assigns found boxes to true boxes, one to one and greedily: the pair with the highest IoU first. */
export function pairBoxes<T extends Placed, F extends Placed>(truth: readonly T[], found: readonly F[]): Pair<T, F>[] {
  const candidates = truth.flatMap((a, i) => found.map((b, j) => ({ i, j, iou: iouOf(a, b) })));
  const pairs: Pair<T, F>[] = truth.map(box => ({ truth: box, iou: 0 }));
  const taken = new Set<number>();
  for (const { i, j, iou } of candidates.sort((a, b) => b.iou - a.iou)) {
    if (iou === 0) break;
    if (pairs[i].found || taken.has(j)) continue;
    taken.add(j);
    pairs[i] = { truth: truth[i], found: found[j], iou };
  }
  return pairs;
}

export const iouOf = (a: Placed, b: Placed, options?: IouOptions): number =>
  boxIou(a.box as BoxCoordinates, b.box as BoxCoordinates, options);

/** Groups items by a key and keeps their order. */
export function groupBy<T>(items: Iterable<T>, key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    const group = groups.get(name);
    if (group) group.push(item);
    else groups.set(name, [item]);
  }
  return groups;
}

/** What found objects are ranked by. */
export interface Ranked {
  rawConfidence?: number;
  confidence?: number;
  score?: number;
}

/**
 * Returns the number that an object is ranked by: its confidence, else its score, else 1. The order of calibrated
 * confidences is that of the raw ones, which are never equal where a curve is flat.
 */
export const rankOf = ({ rawConfidence, confidence, score }: Ranked): number =>
  rawConfidence ?? confidence ?? score ?? 1;

/** Sorts by rank, highest first and stable. */
export const byRank = <T extends Ranked>(items: readonly T[]): T[] => items.toSorted((a, b) => rankOf(b) - rankOf(a));
