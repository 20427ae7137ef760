import type { Target } from '../../src/datasets/example.ts';
import { auroc, expectedCalibrationError, type Outcome } from '../../src/evaluation/confidence.ts';
import { Evaluator } from '../../src/evaluation/evaluator.ts';
import { readTruth } from '../../src/evaluation/judge.ts';
import { outcomesOf } from '../../src/evaluation/outcomes.ts';
import type { ImageSize } from '../../src/geometry/types.ts';
import { mapObjects } from '../../src/results/filter.ts';
import type { TaskResult } from '../../src/results/types.ts';

/** What the confidences of a task's answers are worth. NaN where it is not defined. */
export interface ScoreFigures {
  /** Number of objects or texts. */
  count: number;
  calibrationError: number;
  /** How often a right answer has a higher confidence than a wrong one. */
  auroc: number;
  /** Median confidence of right answers. */
  medianRight: number;
  /** mAP if objects are ranked by the reference's score; that of `Evaluator` ranks by confidence. */
  mAPByScore?: number;
}

/** Accumulates the confidences of answers, by task. */
export class ScoreMeter {
  private readonly outcomes = new Map<string, Outcome[]>();
  private readonly byScore = new Evaluator();

  add(target: Target, imageSize: ImageSize, result: TaskResult): void {
    const truth = readTruth(target.answer, result.task, imageSize, false);
    const known = this.outcomes.get(result.task) ?? [];
    this.outcomes.set(result.task, known);
    known.push(...outcomesOf(truth, result));
    if ('boxes' in result || 'quads' in result) this.byScore.add(target, imageSize, withoutConfidence(result));
  }

  /** Returns the figures of each task, and of all of them together as `all`. */
  figures(): Record<string, ScoreFigures> {
    const metrics = this.byScore.metrics();
    const tasks = [...this.outcomes].map(([task, outcomes]) => {
      return [task, { ...figuresOf(outcomes), mAPByScore: metrics[task]?.mAP }] as const;
    });
    return { ...Object.fromEntries(tasks), all: figuresOf([...this.outcomes.values()].flat()) };
  }
}

function figuresOf(outcomes: readonly Outcome[]): ScoreFigures {
  const right = outcomes.filter(outcome => outcome.right).map(({ confidence }) => confidence);
  return {
    count: outcomes.length,
    calibrationError: expectedCalibrationError(outcomes),
    auroc: auroc(outcomes),
    medianRight: right.sort((a, b) => a - b)[right.length >> 1] ?? Number.NaN,
  };
}

const withoutConfidence = (result: TaskResult): TaskResult =>
  mapObjects(result, object => [{ ...object, confidence: undefined, rawConfidence: undefined }]);
