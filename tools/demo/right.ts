import { outlinesIou } from '../../src/evaluation/judge.ts';
import { boxIou } from '../../src/geometry/iou.ts';
import type { BoxCoordinates } from '../../src/geometry/types.ts';
import type { TaskResult } from '../../src/results/types.ts';

/** Least IoU of a box or outline that counts as right. */
export const RIGHT_IOU = 0.75;

/** A box with its words. */
type Labelled = readonly [words: string, box: BoxCoordinates];

/**
 * Returns whether an answer is right: texts and labels are exact, and every true box and outline is found with an IoU of
 * at least `RIGHT_IOU`, and no other.
 */
export function isRight(truth: TaskResult, result: TaskResult): boolean {
  if ('text' in truth && 'text' in result) return truth.text === result.text;
  const [wanted, found] = [boxesOf(truth), boxesOf(result)];
  if (wanted.length !== found.length) return false;
  const matches = ([words, box]: Labelled) =>
    found.some(([said, other]) => said === words && boxIou(box, other) >= RIGHT_IOU);
  if (!wanted.every(matches)) return false;
  if (!('instances' in truth) || !('instances' in result)) return true;
  return outlinesIou(truth.instances, result.instances, truth.imageSize) >= RIGHT_IOU;
}

function boxesOf(result: TaskResult): Labelled[] {
  if ('phrases' in result) {
    return result.phrases.flatMap(({ phrase, boxes }) => boxes.map(({ box }): Labelled => [phrase, box]));
  }
  if ('quads' in result) return result.quads.map(({ text, quad: [x1, y1, , , x2, y2] }) => [text, [x1, y1, x2, y2]]);
  return 'boxes' in result ? result.boxes.map(({ label, box }) => [label, box]) : [];
}
