import { byScore } from '../../evaluation/detection.ts';
import { iouOf } from '../../evaluation/pairs.ts';
import { groupBy } from './group.ts';

/** Words of a caption and the boxes `[x1, y1, x2, y2]` of what they name. */
export interface GroundedPhrase {
  phrase: string;
  boxes: readonly { box: ArrayLike<number>; score?: number }[];
}

/**
 * Recall@1 of phrase grounding at IoU 0.5, as for Flickr30k Entities: for each true phrase that has a box 1 where the
 * surest box found for the same words overlaps any of its boxes by half, else 0. Words that a caption repeats are
 * compared in their order.
 */
export function phraseRecalls(truth: readonly GroundedPhrase[], found: readonly GroundedPhrase[]): number[] {
  const left = groupBy(found, ({ phrase }) => phrase);
  return truth
    .filter(({ boxes }) => boxes.length > 0)
    .map(({ phrase, boxes }) => {
      const first = byScore(left.get(phrase)?.shift()?.boxes ?? []).at(0);
      return first && boxes.some(box => iouOf(box, first) >= 0.5) ? 1 : 0;
    });
}
