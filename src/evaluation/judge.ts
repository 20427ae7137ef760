import { UsageError } from '../errors.ts';
import { maskIou } from '../geometry/iou.ts';
import { type Mask, maskArea, polygonsToMask } from '../geometry/masks.ts';
import type { ImageSize, QuadCoordinates } from '../geometry/types.ts';
import type { TypedAnswer } from '../results/format.ts';
import { parse } from '../results/parse/parse.ts';
import { asciiOnly } from '../results/parse/parts.ts';
import { BANNED_PHRASES } from '../results/parse/places.ts';
import type { TaskResult } from '../results/types.ts';
import { strip } from '../text/python_strings.ts';
import { BOXES, type ClassBox, DetectionMetric, mean } from './detection.ts';
import { byRank, groupBy, iouOf, type Pair, pairBoxes, type Ranked } from './pairs.ts';
import { editSimilarity, exactMatch } from './text.ts';

/** The metrics of one task, accumulated over its answers. */
export class TaskMetrics {
  /** Number of judged answers. */
  count = 0;
  readonly detection = new DetectionMetric(BOXES);
  /** Whether `values` includes the average precision of each class. */
  perClass = false;
  private readonly means = new Map<string, { sum: number; count: number }>();

  /** Adds values to the mean of this name. */
  add(name: string, ...values: number[]): void {
    const mean = this.means.get(name) ?? { sum: 0, count: 0 };
    this.means.set(name, mean);
    for (const value of values) mean.sum += value;
    mean.count += values.length;
  }

  /** Returns all metrics that have at least one value, by name. */
  values(): Record<string, number> {
    const means = [...this.means].filter(([, { count }]) => count > 0);
    const { mAP, mAP50, mAP75 } = this.detection.metrics();
    const classes = this.perClass ? this.detection.perClass() : [];
    return {
      ...(mAP === undefined ? {} : { mAP, mAP50, mAP75 }),
      ...Object.fromEntries(means.map(([name, { sum, count }]) => [name, sum / count])),
      count: this.count,
      ...Object.fromEntries(classes.map(({ label, precisions }) => [`AP/${label}`, mean(precisions)])),
    };
  }
}

/**
 * Converts a true answer to the form of results, so that the two can be compared: text is parsed, and labels are
 * cleaned as the parser cleans those of results. Coordinates are unchanged.
 */
export function readTruth(
  answer: TypedAnswer | string,
  task: TaskResult['task'],
  imageSize: ImageSize,
  keepUnicode: boolean,
): TypedAnswer {
  const given =
    typeof answer === 'string' ? parse(answer, task, imageSize, { keepUnicode, keepMalformed: true }) : answer;
  const clean = (label: string): string => asciiOnly(strip(label), keepUnicode);
  const boxes = 'boxes' in given ? given.boxes : undefined;
  const instances = 'instances' in given ? given.instances : undefined;
  // A result of open-vocabulary detection has both lists; the answer is the one that is not empty.
  if (boxes && !instances?.length) return { boxes: boxes.map(row => ({ ...row, label: clean(row.label) })) };
  if (instances) return { instances: instances.map(row => ({ ...row, label: clean(row.label) })) };
  if ('phrases' in given) {
    const kept = given.phrases.filter(({ phrase }) => !BANNED_PHRASES.has(strip(phrase)));
    return { phrases: kept.map(row => ({ ...row, phrase: clean(row.phrase) })) };
  }
  return given;
}

/**
 * Adds one answer to the metrics of its task; `Evaluator` lists the metrics of each task.
 *
 * @throws UsageError if the truth has another kind than the result
 */
export function judge(truth: TypedAnswer, result: TaskResult, metrics: TaskMetrics): void {
  if ('text' in truth && 'text' in result) {
    metrics.add('editSimilarity', editSimilarity(truth.text, result.text));
    metrics.add('exactMatch', exactMatch(truth.text, result.text));
  } else if ('phrases' in truth && 'phrases' in result) {
    metrics.add('recallAt1', ...phraseRecalls(truth.phrases, result.phrases));
  } else if ('quads' in truth && 'quads' in result) {
    const [lines, read] = [truth.quads.map(lineOf), result.quads.map(lineOf)];
    const pairs = pairBoxes(lines, read);
    metrics.detection.add(lines.map(unlabelled), read.map(unlabelled));
    metrics.add('editSimilarity', ...compareLabels(pairs, editSimilarity));
    metrics.add('exactMatch', ...compareLabels(pairs, exactMatch));
  } else if ('instances' in truth && 'instances' in result) {
    // The segmentation tasks have one object, the one in the prompt, so labels of the truth are ignored.
    const byLabel = result.task === '<OPEN_VOCABULARY_DETECTION>';
    metrics.add('meanIoU', ...outlineIous(truth.instances, result.instances, byLabel, result.imageSize));
  } else if ('boxes' in truth && 'boxes' in result) {
    judgeBoxes(truth.boxes, result.boxes, result.task, metrics);
  } else {
    throw new UsageError(
      `An answer to ${result.task} cannot be compared with a true answer that has ${Object.keys(truth)[0]}.`,
    );
  }
}

function judgeBoxes(truth: ClassBox[], found: ClassBox[], task: TaskResult['task'], metrics: TaskMetrics): void {
  if (task === '<REGION_PROPOSAL>') {
    metrics.detection.add(truth.map(unlabelled), found.map(unlabelled));
    return;
  }
  metrics.detection.add(truth, found);
  if (task === '<DENSE_REGION_CAPTION>') {
    const pairs = pairBoxes(truth, found);
    metrics.add('meanIoU', ...pairs.map(({ iou }) => iou));
    metrics.add('editSimilarity', ...compareLabels(pairs, editSimilarity));
  } else metrics.perClass = true;
}

/** Compares the labels of each pair; 0 for true boxes without a found box of IoU 0.5. */
function compareLabels(pairs: Pair<ClassBox, ClassBox>[], compare: (truth: string, found: string) => number): number[] {
  return pairs.map(({ truth, found, iou }) => (found && iou >= 0.5 ? compare(truth.label, found.label) : 0));
}

/** Returns a line of text as a labelled box, the bounding box of its quad. */
export function lineOf({ text, quad, ...scores }: { text: string; quad: ArrayLike<number> } & Ranked): ClassBox {
  const [xs, ys] = [0, 1].map(axis => Array.from(quad as QuadCoordinates).filter((_, i) => i % 2 === axis));
  return { label: text, box: [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)], ...scores };
}

const unlabelled = (box: ClassBox): ClassBox => ({ ...box, label: '' });

/** Words of a caption and the boxes `[x1, y1, x2, y2]` of the objects that they name. */
export interface GroundedPhrase {
  phrase: string;
  boxes: readonly ({ box: ArrayLike<number> } & Ranked)[];
}

/**
 * Returns the recall@1 of phrase grounding at IoU 0.5, as for Flickr30k Entities, for each true phrase that has boxes.
 * It is 1 if the box with the highest confidence that was found for the same words has an IoU of 0.5 with one of the true
 * boxes, else 0. If a caption repeats words, the n-th true phrase is compared with the n-th found phrase.
 */
export function phraseRecalls(truth: readonly GroundedPhrase[], found: readonly GroundedPhrase[]): number[] {
  const unused = groupBy(found, ({ phrase }) => phrase);
  return truth
    .filter(({ boxes }) => boxes.length > 0)
    .map(({ phrase, boxes }) => {
      const first = byRank(unused.get(phrase)?.shift()?.boxes ?? []).at(0);
      return first && boxes.some(box => iouOf(box, first) >= 0.5) ? 1 : 0;
    });
}

/** An object's outline: one or more polygons `[x1, y1, x2, y2, …]` in pixels. */
export interface Outline {
  polygons: readonly ArrayLike<number>[];
}

/** Returns one IoU for each label of the truth or the answer, or for all objects together; one if both are empty. */
function outlineIous<T extends Outline & { label: string }>(
  truth: readonly T[],
  found: readonly T[],
  byLabel: boolean,
  image: ImageSize,
): number[] {
  const [a, b] = [truth, found].map(outlines => groupBy(outlines, ({ label }) => (byLabel ? label : '')));
  const labels = new Set([...a.keys(), ...b.keys()]);
  if (labels.size === 0) labels.add('');
  return [...labels].map(label => outlinesIou(a.get(label) ?? [], b.get(label) ?? [], image));
}

/**
 * Returns the intersection over union of the union of all true objects with the union of all found ones, 0 to 1. It is
 * 1 if both are empty, as for gRefCOCO's expressions without a target (Liu et al. 2023).
 */
export function outlinesIou(truth: readonly Outline[], found: readonly Outline[], image: ImageSize): number {
  const [a, b] = [truth, found].map(outlines => maskOf(outlines, image));
  return maskArea(a) + maskArea(b) === 0 ? 1 : maskIou(a, b);
}

/** Returns the union of some outlines as a mask. */
export const maskOf = (outlines: readonly Outline[], image: ImageSize): Mask =>
  polygonsToMask(
    outlines.flatMap(({ polygons }) => polygons.map(points => Array.from(points))),
    image,
  );
