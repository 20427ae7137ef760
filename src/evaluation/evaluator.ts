import type { Target } from '../datasets/example.ts';
import type { ImageSize } from '../geometry/types.ts';
import type { TaskResult } from '../results/types.ts';
import { taskKey } from '../text/tasks.ts';
import { judge, readTruth, TaskMetrics } from './judge.ts';

export interface EvaluatorOptions {
  /** Results keep all characters of labels (see `ParseOptions`), so true labels keep them too. Default false. */
  keepUnicode?: boolean;
}

/**
 * Judges answers by the truth, task by task. All metrics are shares from 0 to 1, where 1 is best, but for `count`, the
 * number of answers judged.
 *
 * - Object detection and open vocabulary: `mAP`, `mAP50`, `mAP75` as pycocotools has them, and `AP/<class>`. Where the
 *   true answer is polygons, `meanIoU` over the labels of each image instead.
 * - Region proposals: mAP of one class.
 * - Dense region captions: mAP with whole captions as classes, which only word for word equal ones reach; so also
 *   `meanIoU` of the true boxes with those paired to them, and `editSimilarity` of the captions of the pairs.
 * - Text with regions: mAP of the quads' bounding boxes as one class, and `editSimilarity` and `exactMatch` of the
 *   lines of the pairs. As in end-to-end text spotting, a line (or caption) counts 0 unless its pair's IoU is 0.5.
 * - Phrase grounding: `recallAt1`, the share of true phrases whose surest box has an IoU of 0.5 with one of theirs.
 * - Segmentation: `meanIoU` of all that is outlined in an image.
 * - Text, and prompts of your own: `editSimilarity` and `exactMatch`.
 */
export class Evaluator {
  private readonly tasks = new Map<string, TaskMetrics>();
  private readonly keepUnicode: boolean;

  constructor({ keepUnicode = false }: EvaluatorOptions = {}) {
    this.keepUnicode = keepUnicode;
  }

  /**
   * @param target what was asked, and the true answer
   * @param imageSize of the image in pixels, before it was resized for the model
   * @param result what the model answered to it
   * @throws UsageError where the true answer is not of the task's kind
   */
  add(target: Target, imageSize: ImageSize, result: TaskResult): void {
    const truth = readTruth(target.answer, result.task, imageSize, this.keepUnicode);
    const key = taskKey(target.task);
    const metrics = this.tasks.get(key) ?? new TaskMetrics();
    judge(truth, result, metrics);
    metrics.count++;
    this.tasks.set(key, metrics);
  }

  /** By task (see `taskKey`), the metrics by name. */
  metrics(): Record<string, Record<string, number>> {
    return Object.fromEntries([...this.tasks].map(([key, metrics]) => [key, metrics.values()]));
  }
}

/**
 * The metric that sums up a task best, of those that it has: where places have words, how well these are read there.
 */
export function mainMetric(metrics: Record<string, number>): string | undefined {
  return ['recallAt1', 'editSimilarity', 'meanIoU', 'mAP'].find(name => name in metrics);
}
