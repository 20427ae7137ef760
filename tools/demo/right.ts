import type { ClassBox } from '../../src/evaluation/detection.ts';
import { lineOf, outlinesIou } from '../../src/evaluation/judge.ts';
import { iouOf } from '../../src/evaluation/pairs.ts';
import type { TaskResult } from '../../src/results/types.ts';

/** Least IoU of a box or outline that counts as right. */
export const RIGHT_IOU = 0.75;

/**
 * Returns whether an answer is right: texts and labels are exact, and every true box and outline is found with an IoU of
 * at least `RIGHT_IOU`, and no other.
 */
export function isRight(truth: TaskResult, result: TaskResult): boolean {
  if ('text' in truth && 'text' in result) return truth.text === result.text;
  const [wanted, found] = [boxesOf(truth), boxesOf(result)];
  if (wanted.length !== found.length) return false;
  const matches = (box: ClassBox) => found.some(other => other.label === box.label && iouOf(box, other) >= RIGHT_IOU);
  if (!wanted.every(matches)) return false;
  if (!('instances' in truth) || !('instances' in result)) return true;
  return outlinesIou(truth.instances, result.instances, truth.imageSize) >= RIGHT_IOU;
}

function boxesOf(result: TaskResult): ClassBox[] {
  if ('phrases' in result) {
    return result.phrases.flatMap(({ phrase, boxes }) => boxes.map(({ box }) => ({ label: phrase, box })));
  }
  if ('quads' in result) return result.quads.map(lineOf);
  return 'boxes' in result ? result.boxes : [];
}
