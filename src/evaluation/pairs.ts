import { boxIou } from '../geometry/iou.ts';
import type { BoxCoordinates } from '../geometry/types.ts';

interface Placed {
  box: ArrayLike<number>; // [x1, y1, x2, y2]
}

/** A true box and the one found for it; `found` is undefined and `iou` 0 where nothing is left that overlaps. */
export interface Pair<T, F> {
  truth: T;
  found?: F;
  iou: number;
}

/** For each true box one of those found, no box twice: the pair that overlaps most is made first, and so on. */
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

export const iouOf = (a: Placed, b: Placed): number => boxIou(a.box as BoxCoordinates, b.box as BoxCoordinates);

/** The members of a list by key, in their order. */
export function groupBy<T>(list: Iterable<T>, key: (member: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const member of list) {
    const name = key(member);
    const group = groups.get(name);
    if (group) group.push(member);
    else groups.set(name, [member]);
  }
  return groups;
}

/** Highest first, 1 where there is none; equal ones stay in their order. */
export const byScore = <T extends { score?: number }>(list: readonly T[]): T[] =>
  list.toSorted((a, b) => (b.score ?? 1) - (a.score ?? 1));
