import { UsageError } from '../errors.ts';
import type { TypedAnswer } from '../results/format.ts';
import type { QuadCoordinates, TaskResult } from '../results/types.ts';
import type { ImageSize } from '../text/locations.ts';
import { groupBy } from '../training/metrics/group.ts';
import { type Outline, outlinesIou } from '../training/metrics/masks.ts';
import type { Measures } from '../training/metrics/measures.ts';
import { phraseRecalls } from '../training/metrics/phrases.ts';
import type { ClassBox } from './detection.ts';
import { type Pair, pairBoxes } from './pairs.ts';
import { editSimilarity, exactMatch } from './text.ts';

/**
 * Adds one answer to the measures of its task; which these are is said at `Evaluator`.
 *
 * @throws UsageError where the truth is not of the result's kind
 */
export function judge(truth: TypedAnswer, result: TaskResult, measures: Measures): void {
  if ('text' in truth && 'text' in result) {
    measures.add('editSimilarity', editSimilarity(truth.text, result.text));
    measures.add('exactMatch', exactMatch(truth.text, result.text));
  } else if ('phrases' in truth && 'phrases' in result) {
    measures.add('recallAt1', ...phraseRecalls(truth.phrases, result.phrases));
  } else if ('quads' in truth && 'quads' in result) {
    const [lines, read] = [truth.quads.map(lineOf), result.quads.map(lineOf)];
    const pairs = pairBoxes(lines, read);
    measures.detection.add(lines.map(unlabelled), read.map(unlabelled));
    measures.add('editSimilarity', ...wordsOf(pairs, editSimilarity));
    measures.add('exactMatch', ...wordsOf(pairs, exactMatch));
  } else if ('instances' in truth && 'instances' in result) {
    // The segmentation tasks have one object, the one that was asked for: what a truth calls it does not matter.
    const group = result.task === '<OPEN_VOCABULARY_DETECTION>' ? labelOf : () => '';
    measures.add('meanIoU', ...outlineIous(truth.instances, result.instances, group, result.imageSize));
  } else if ('boxes' in truth && 'boxes' in result) {
    judgeBoxes(truth.boxes, result.boxes, result.task, measures);
  } else {
    throw new UsageError(`An answer to ${result.task} cannot be compared with true ${Object.keys(truth)[0]}.`);
  }
}

function judgeBoxes(truth: ClassBox[], found: ClassBox[], task: TaskResult['task'], measures: Measures): void {
  if (task === '<REGION_PROPOSAL>') {
    measures.detection.add(truth.map(unlabelled), found.map(unlabelled));
    return;
  }
  measures.detection.add(truth, found);
  if (task === '<DENSE_REGION_CAPTION>') {
    const pairs = pairBoxes(truth, found);
    measures.add('meanIoU', ...pairs.map(({ iou }) => iou));
    measures.add('editSimilarity', ...wordsOf(pairs, editSimilarity));
  } else measures.perClass = true;
}

/** How well the words of each true box were met by its pair; 0 where the pair is another place than the truth's. */
function wordsOf(pairs: Pair<ClassBox, ClassBox>[], compare: (truth: string, answer: string) => number): number[] {
  return pairs.map(({ truth, found, iou }) => (found && iou >= 0.5 ? compare(truth.label, found.label) : 0));
}

/** One IoU for each group of outlines that the truth or the answer has; one alone where neither has any. */
function outlineIous<T extends Outline>(
  truth: readonly T[],
  found: readonly T[],
  group: (outline: T) => string,
  image: ImageSize,
): number[] {
  const [a, b] = [groupBy(truth, group), groupBy(found, group)];
  const names = new Set([...a.keys(), ...b.keys()]);
  if (names.size === 0) names.add('');
  return [...names].map(name => outlinesIou(a.get(name) ?? [], b.get(name) ?? [], image));
}

/** A line of text as a labelled box: the smallest around its quad. */
function lineOf({ text, quad, score }: { text: string; quad: ArrayLike<number>; score?: number }): ClassBox {
  const [xs, ys] = [0, 1].map(axis => Array.from(quad as QuadCoordinates).filter((_, i) => i % 2 === axis));
  return { label: text, box: [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)], score };
}

const unlabelled = (box: ClassBox): ClassBox => ({ ...box, label: '' });

const labelOf = ({ label }: { label: string }): string => label;
