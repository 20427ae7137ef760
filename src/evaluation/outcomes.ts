import { maskIou } from '../geometry/iou.ts';
import type { TypedAnswer } from '../results/format.ts';
import type { TaskResult } from '../results/types.ts';
import type { Outcome } from './confidence.ts';
import type { ClassBox } from './detection.ts';
import { lineOf, maskOf, type Outline } from './judge.ts';
import { matches } from './matching.ts';
import { byRank, groupBy, iouOf, type Ranked } from './pairs.ts';
import { exactMatch } from './text.ts';

/** The IoU with a true object from which on a found object is right. */
const RIGHT_IOU = 0.5;

/**
 * Returns for each object of an answer, or for its text, the confidence and whether it is right. A text is right if it
 * equals the true one. An object is right if its label equals that of a true object and its IoU with it is at least 0.5;
 * each true object counts once. Outlines are compared as masks, quads as bounding boxes. What has no confidence is
 * omitted.
 *
 * @param truth the true answer, as `readTruth` returns it
 */
export function outcomesOf(truth: TypedAnswer, result: TaskResult): Outcome[] {
  if ('text' in truth && 'text' in result) {
    return toOutcomes([result], [exactMatch(truth.text, result.text) === 1]);
  }
  if ('phrases' in truth && 'phrases' in result) return judge(boxesOf(truth.phrases), boxesOf(result.phrases), iouOf);
  if ('quads' in truth && 'quads' in result) return judge(truth.quads.map(lineOf), result.quads.map(lineOf), iouOf);
  if ('instances' in truth && 'instances' in result) {
    const masked = <T extends Outline>(object: T) => ({ ...object, mask: maskOf([object], result.imageSize) });
    // The segmentation tasks have one object, the one in the prompt, so labels of the truth are ignored.
    const named = result.task === '<OPEN_VOCABULARY_DETECTION>';
    const truths = truth.instances.map(instance => (named ? instance : { ...instance, label: '' }));
    return judge(truths.map(masked), result.instances.map(masked), (found, real) => maskIou(found.mask, real.mask));
  }
  return 'boxes' in truth && 'boxes' in result ? judge(truth.boxes, result.boxes, iouOf) : [];
}

const boxesOf = (phrases: readonly { phrase: string; boxes: readonly Omit<ClassBox, 'label'>[] }[]): ClassBox[] =>
  phrases.flatMap(({ phrase, boxes }) => boxes.map(box => ({ ...box, label: phrase })));

/** Matches the found objects of each label that have a confidence to the true ones. */
function judge<T extends { label: string }, F extends { label: string } & Ranked>(
  truths: readonly T[],
  found: readonly F[],
  iou: (found: F, truth: T) => number,
): Outcome[] {
  const known = groupBy(truths, ({ label }) => label);
  const sure = found.filter(({ confidence }) => confidence !== undefined);
  return [...groupBy(sure, ({ label }) => label)].flatMap(([label, objects]) => {
    const ranked = byRank(objects);
    return toOutcomes(ranked, matches(known.get(label) ?? [], ranked, RIGHT_IOU, iou));
  });
}

const toOutcomes = (objects: readonly Ranked[], right: readonly boolean[]): Outcome[] =>
  objects.flatMap(({ confidence }, i) => (confidence === undefined ? [] : [{ confidence, right: right[i] }]));
