import { maskIou } from '../../geometry/iou.ts';
import { maskArea, polygonsToMask } from '../../geometry/masks.ts';
import type { ImageSize } from '../../text/locations.ts';

/** An object's outline, of one or several polygons `[x1, y1, x2, y2, …]` in pixels. */
export interface Outline {
  polygons: readonly ArrayLike<number>[];
}

/**
 * Intersection over union of all that is outlined, 0 to 1: of the union of the true objects with the union of those
 * found. 1 where nothing was to be found and nothing was, as for gRefCOCO's expressions without a target (Liu et al. 2023).
 */
export function outlinesIou(truth: readonly Outline[], found: readonly Outline[], image: ImageSize): number {
  const [a, b] = [truth, found].map(outlines => polygonsToMask(polygonsOf(outlines), image));
  return maskArea(a) + maskArea(b) === 0 ? 1 : maskIou(a, b);
}

const polygonsOf = (outlines: readonly Outline[]): number[][] =>
  outlines.flatMap(({ polygons }) => polygons.map(points => Array.from(points)));
