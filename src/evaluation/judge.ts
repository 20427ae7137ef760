import { UsageError } from '../errors.ts';
import { maskIou } from '../geometry/iou.ts';
import { maskArea, polygonsToMask } from '../geometry/masks.ts';
import type { ImageSize, QuadCoordinates } from '../geometry/types.ts';
import type { TypedAnswer } from '../results/format.ts';
import { parse } from '../results/parse/parse.ts';
import { asciiOnly } from '../results/parse/parts.ts';
import { BANNED_PHRASES } from '../results/parse/places.ts';
import type { TaskResult } from '../results/types.ts';
import { strip } from '../text/python_strings.ts';
import { type ClassBox, DetectionMetric } from './detection.ts';
import { byScore, groupBy, iouOf, type Pair, pairBoxes } from './pairs.ts';
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

/** What is kept of the answers to one task. */
export class Measures {
  /** Answers judged. */
  count = 0;
  readonly detection = new DetectionMetric();
  /** Whether classes are few enough to have metrics of their own. */
  perClass = false;
  private readonly means = new Map<string, { sum: number; count: number }>();

  /** Adds values to a mean. */
  add(name: string, ...values: number[]): void {
    const mean = this.means.get(name) ?? { sum: 0, count: 0 };
    this.means.set(name, mean);
    for (const value of values) mean.sum += value;
    mean.count += values.length;
  }

  /** All metrics that there are answers for. */
  metrics(): Record<string, number> {
    const means = [...this.means].filter(([, { count }]) => count > 0);
    return {
      ...this.detection.metrics(),
      ...Object.fromEntries(means.map(([name, { sum, count }]) => [name, sum / count])),
      count: this.count,
      ...(this.perClass ? this.detection.perClass() : {}),
    };
  }
}

/**
 * A true answer in the terms of results, so that the two can be compared: text is parsed, and labels go through what the
 * parser does to those of results, or some true ones could never be met. Coordinates stay as they were given.
 */
export function readTruth(
  answer: TypedAnswer | string,
  task: TaskResult['task'],
  imageSize: ImageSize,
  keepUnicode: boolean,
): TypedAnswer {
  const given = typeof answer === 'string' ? parse(answer, task, imageSize, { keepUnicode }) : answer;
  const clean = (label: string): string => asciiOnly(strip(label), keepUnicode);
  const boxes = 'boxes' in given ? given.boxes : undefined;
  const instances = 'instances' in given ? given.instances : undefined;
  // A result of open vocabulary has both, and answers in the one that is not empty.
  if (boxes && !instances?.length) return { boxes: boxes.map(row => ({ ...row, label: clean(row.label) })) };
  if (instances) return { instances: instances.map(row => ({ ...row, label: clean(row.label) })) };
  if ('phrases' in given) {
    const named = given.phrases.filter(({ phrase }) => !BANNED_PHRASES.has(strip(phrase)));
    return { phrases: named.map(row => ({ ...row, phrase: clean(row.phrase) })) };
  }
  return given;
}

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
