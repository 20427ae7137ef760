import type { BoxCoordinates } from '../geometry/types.ts';
import { checkOptions, type OptionTable, oneOf, share } from '../options.ts';

/** How the objects of several views of an image are merged. */
export interface MergeOptions {
  /**
   * `nmm` merges the boxes of an object into one that contains them (greedy non-maximum merging), `nms` keeps the best
   * box (non-maximum suppression). Default `nmm`: an object that a tile cuts is completed by the next tile.
   */
  merge?: 'nmm' | 'nms';
  /** Smallest overlap of two boxes of one object: intersection over the smaller area, 0 to 1. Default 0.5. */
  threshold?: number;
}

/** The kinds of those options. */
export const MERGE_OPTIONS: OptionTable<MergeOptions> = { merge: oneOf('nmm', 'nms'), threshold: share };

/** An object of a view, in pixels of the whole image. */
export interface Sighting {
  box: BoxCoordinates;
  /** Objects of different classes are not merged. */
  class: string;
  /** Sightings with a higher rank are kept. */
  rank: number;
  /** Index of the view. Each view shows an object once, so two objects of a view are not merged. */
  view: number;
}

/** One object, and the indices of its sightings, the kept one first. */
export interface MergedObject {
  box: BoxCoordinates;
  members: number[];
}

/**
 * Merges the sightings of each object, as SAHI does (Akyon et al. 2022): from the highest rank to the lowest, each
 * sighting takes those that overlap it by at least the threshold. Of several in one view it takes the one that overlaps
 * most. With `nmm` the box grows by each of them that still overlaps it.
 *
 * @returns the objects in the order of their first sightings
 */
export function mergeSightings(sightings: readonly Sighting[], options: MergeOptions = {}): MergedObject[] {
  checkOptions('mergeSightings', options, MERGE_OPTIONS);
  const { merge = 'nmm', threshold = 0.5 } = options;
  const order = sightings.map((_, i) => i).sort((a, b) => sightings[b].rank - sightings[a].rank);
  const free = new Set(order);
  const objects: MergedObject[] = [];
  for (const kept of order) {
    if (!free.delete(kept)) continue;
    const { box: start } = sightings[kept];
    const matches = matchesOf(kept, sightings, [...free], threshold);
    for (const match of matches) free.delete(match);
    const grow = (box: BoxCoordinates, match: number): BoxCoordinates => {
      const other = sightings[match].box;
      return boxIos(box, other) > threshold ? union(box, other) : box;
    };
    objects.push({ box: merge === 'nmm' ? matches.reduce(grow, start) : start, members: [kept, ...matches] });
  }
  const first = ({ members }: MergedObject): number => Math.min(...members);
  return objects.sort((a, b) => first(a) - first(b));
}

/** Returns the sightings of the same object in the other views, at most one per view, by rank. */
function matchesOf(kept: number, sightings: readonly Sighting[], free: number[], threshold: number): number[] {
  const own = sightings[kept];
  const best = new Map<number, { index: number; overlap: number }>();
  for (const index of free) {
    const other = sightings[index];
    if (other.view === own.view || other.class !== own.class) continue;
    const overlap = boxIos(own.box, other.box);
    if (overlap >= threshold && overlap > (best.get(other.view)?.overlap ?? -1)) {
      best.set(other.view, { index, overlap });
    }
  }
  const found = new Set([...best.values()].map(({ index }) => index));
  return free.filter(index => found.has(index));
}

/** Returns the intersection of two boxes over the smaller of their areas, 0 to 1; 0 for an empty box. */
export function boxIos(a: BoxCoordinates, b: BoxCoordinates): number {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const smaller = Math.min(area(a), area(b));
  return smaller > 0 ? (Math.max(0, width) * Math.max(0, height)) / smaller : 0;
}

const area = ([x1, y1, x2, y2]: BoxCoordinates): number => (x2 - x1) * (y2 - y1);

const union = (a: BoxCoordinates, b: BoxCoordinates): BoxCoordinates => [
  Math.min(a[0], b[0]),
  Math.min(a[1], b[1]),
  Math.max(a[2], b[2]),
  Math.max(a[3], b[3]),
];
