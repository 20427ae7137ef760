import type { Target } from '../datasets/example.ts';
import type { ImageSize } from '../geometry/types.ts';
import { checkOptions, onOff } from '../options.ts';
import type { Box, TaskResult } from '../results/types.ts';
import { taskKey } from '../text/tasks.ts';
import type { ClassBox, ClassScore, TrueObject } from './detection.ts';
import { judge, readTruth, TaskMetrics } from './judge.ts';

/** Names of the metrics of a task; those of single classes are `AP/<class>`. */
export const METRICS: readonly string[] = [
  ...['mAP', 'mAP50', 'mAP75', 'meanIoU', 'editSimilarity', 'exactMatch', 'recallAt1'],
];

/** Tasks whose answers are compared with all objects of an image. */
const WITH_CROWDS: ReadonlySet<string> = new Set(['<OD>', '<REGION_PROPOSAL>']);

/** Options of `Evaluator`. */
export interface EvaluatorOptions {
  /**
   * Whether true labels keep characters outside ASCII. Set it if results were parsed with `keepUnicode`. Default false.
   */
  keepUnicode?: boolean;
}

/**
 * Compares answers with true answers and computes the metrics of each task. All metrics are between 0 and 1, and higher
 * is better, except `count`, the number of answers.
 *
 * - Object detection and open-vocabulary detection: `mAP`, `mAP50` and `mAP75` as pycocotools computes them, and
 *   `AP/<class>`. If the true answer has polygons: `meanIoU` over the labels of each image.
 * - Region proposals: mAP of a single class.
 * - Dense region captions: mAP with whole captions as classes, so that only identical captions match. In addition,
 *   `meanIoU` of each true box with the found box that is paired to it, and `editSimilarity` of the captions of pairs.
 * - OCR with regions: mAP of the quads' bounding boxes as a single class, and `editSimilarity` and `exactMatch` of the
 *   lines of pairs. As in end-to-end text spotting, a line (or caption) counts 0 if the IoU of its pair is below 0.5.
 * - Phrase grounding: `recallAt1`, the fraction of true phrases whose found box with the highest confidence has an IoU of at
 *   least 0.5 with one of the true boxes.
 * - Segmentation: `meanIoU` of the union of all outlines of an image.
 * - Tasks that answer in words, and custom prompts: `editSimilarity` and `exactMatch`.
 */
export class Evaluator {
  private readonly tasks = new Map<string, TaskMetrics>();
  private readonly keepUnicode: boolean;

  constructor(options: EvaluatorOptions = {}) {
    checkOptions('Evaluator', options, { keepUnicode: onOff });
    this.keepUnicode = options.keepUnicode ?? false;
  }

  /**
   * Adds the answer to one target.
   *
   * @param target the task and its true answer
   * @param imageSize size of the original image in pixels
   * @param result the model's answer
   * @param objects the true objects with crowds and areas, which replace those of the target in the metrics of boxes
   * @throws UsageError if the true answer has another kind than the result
   */
  add(target: Target, imageSize: ImageSize, result: TaskResult, objects?: readonly (ClassBox & TrueObject)[]): void {
    const answer = objects && WITH_CROWDS.has(result.task) ? { boxes: objects as Box[] } : target.answer;
    const truth = readTruth(answer, result.task, imageSize, this.keepUnicode);
    const key = taskKey(target.task);
    const metrics = this.tasks.get(key) ?? new TaskMetrics();
    judge(truth, result, metrics);
    metrics.count++;
    this.tasks.set(key, metrics);
  }

  /** Returns the metrics by name for each task: a task token, or `prompt` for custom prompts (see `taskKey`). */
  metrics(): Record<string, Record<string, number>> {
    return Object.fromEntries([...this.tasks].map(([key, metrics]) => [key, metrics.values()]));
  }

  /** Returns precision and recall of each class, for each task whose objects have classes. */
  classes(): Record<string, ClassScore[]> {
    const named = [...this.tasks].filter(([, { perClass }]) => perClass);
    return Object.fromEntries(named.map(([key, { detection }]) => [key, detection.perClass()]));
  }

  /** Returns COCO's twelve numbers for each task with boxes; see `DetectionMetric`. */
  coco(): Record<string, Record<string, number>> {
    return Object.fromEntries([...this.tasks].map(([key, { detection }]) => [key, detection.metrics()]));
  }
}

/**
 * Returns the name of the metric that summarises a task best, or undefined if it has none of them. If boxes have texts,
 * this is the similarity of the texts.
 */
export function mainMetric(metrics: Record<string, number>): string | undefined {
  return ['recallAt1', 'editSimilarity', 'meanIoU', 'mAP'].find(name => name in metrics);
}
