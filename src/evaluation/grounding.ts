import { boundsOf } from '../geometry/clip.ts';
import { type Mask, maskArea } from '../geometry/masks.ts';
import { mean } from './detection.ts';
import { byRank, iouOf, type Placed, type Ranked } from './pairs.ts';

/** The IoU from which on a found box is right. */
const RIGHT_IOU = 0.5;

/** The object that an expression names, and the box that was found for it. */
export interface ReferredBox {
  truth: ArrayLike<number>; // [x1, y1, x2, y2]
  /** null if there is no answer: a miss with an IoU of 0. */
  found: ArrayLike<number> | null;
}

/**
 * Returns the accuracy at an IoU (RefCOCO's accuracy@0.5; 0.5 itself is right) and the mean IoU of boxes found for
 * referring expressions, 0 to 1. Yu et al. 2016. NaN without expressions.
 *
 * @param threshold the least IoU of a right box
 */
export function referringBoxes(
  rows: readonly ReferredBox[],
  threshold: number = RIGHT_IOU,
): { accuracy: number; meanIoU: number } {
  const ious = rows.map(({ truth, found }) => (found ? iouOf({ box: truth }, { box: found }) : 0));
  return { accuracy: mean(ious.map(iou => Number(iou >= threshold))), meanIoU: mean(ious) };
}

/** The mask that an expression names, and the one that was found for it; both of the size of the image. */
export interface ReferredMask {
  truth: Mask;
  found: Mask;
}

/**
 * Returns two means of masks found for referring expressions, 0 to 1: `meanIoU` (mIoU) of each expression's IoU, and
 * `cumulativeIoU` (cIoU, overall IoU), all intersections divided by all unions, which large objects dominate. Two empty
 * masks have an IoU of 1 and add nothing to the sums (Liu et al. 2023). `precision` is the share of expressions with at
 * least the IoU `threshold` (P@0.5).
 */
export function referringMasks(
  rows: readonly ReferredMask[],
  threshold: number = RIGHT_IOU,
): { meanIoU: number; cumulativeIoU: number; precision: number } {
  let [inside, around] = [0, 0];
  const ious = rows.map(({ truth, found }) => {
    const both = truth.data.reduce((sum, value, i) => sum + (value & found.data[i]), 0);
    const either = maskArea(truth) + maskArea(found) - both;
    inside += both;
    around += either;
    return either === 0 ? 1 : both / either;
  });
  return {
    meanIoU: mean(ious),
    cumulativeIoU: around === 0 ? Number(rows.length > 0) : inside / around,
    precision: mean(ious.map(iou => Number(iou >= threshold))),
  };
}

/** A phrase of a caption: the boxes that it names, and those found for it. */
export interface LocatedPhrase {
  truth: readonly ArrayLike<number>[]; // each [x1, y1, x2, y2]
  found: readonly (Placed & Ranked)[];
}

/** How the boxes of a phrase with several true ones are compared. */
export type PhraseProtocol = 'any-box' | 'merged-boxes';

/**
 * Returns the recall@k of Flickr30k Entities: the share of phrases of which one of the k highest ranked boxes has an IoU
 * of 0.5 with a true box. With `merged-boxes` the true boxes of a phrase are first merged to the smallest box around
 * them. Plummer et al. 2015; as MDETR's `flickr_eval.py` (Kamath et al. 2021). NaN without phrases.
 *
 * @param k may be Infinity
 */
export function phraseRecall(phrases: readonly LocatedPhrase[], k: number, protocol: PhraseProtocol): number {
  return mean(
    phrases.map(({ truth, found }) => {
      const known = protocol === 'any-box' ? truth : [boundsOf(truth.flatMap(box => Array.from(box)))];
      const first = byRank(found).slice(0, k);
      return Number(first.some(one => known.some(box => iouOf(one, { box }) >= RIGHT_IOU)));
    }),
  );
}
