import { DATASET } from '../datasets/collect.ts';
import type { Dataset, TrainingExample } from '../datasets/example.ts';
import type { ProblemHandler } from '../datasets/reading.ts';
import { Florence2Error } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { DECODE_OPTIONS } from '../image/types.ts';
import { callback, checkKind, checkOptions, type OptionTable, pickOptions } from '../options.ts';
import { CALLS, type RunOptions } from '../requests.ts';
import type { Calibration } from '../results/calibration.ts';
import type { TaskResult } from '../results/types.ts';
import { isotonicRegression, type Outcome } from './confidence.ts';
import { readTruth } from './judge.ts';
import { outcomesOf } from './outcomes.ts';

/** Options of `calibrate`, `answerOutcomes` and `evaluate`: how the images are decoded and the answers generated. */
export interface CalibrateOptions extends Omit<RunOptions, 'adapter'> {
  /** Called after each image. */
  onProgress?: (done: number, total: number) => void;
  /** Receives each example that cannot be read or answered, which is left out. Default: its error is thrown. */
  onProblem?: ProblemHandler;
}

const { adapter, onError, ...ANSWERS } = CALLS.runBatch;

/** Options of calls that answer a dataset. */
export const CALIBRATE: OptionTable<CalibrateOptions> = { ...ANSWERS, onProgress: callback, onProblem: callback };

/**
 * Fits a monotone map from confidences to shares of right answers for each task, and sets it as the calibration of the
 * model, or of its active adapter. Use images that the model was not trained on, with some hundred objects for each
 * task. Confidences depend on the decoding: calibrate with the options (`numBeams`) of later runs. `writeCalibration`
 * saves the result for the next `Florence2.load` or `loadAdapter`.
 *
 * @throws UsageError if several adapters are active, or a true answer has another kind than its task's answers
 */
export async function calibrate(
  florence: Florence2,
  dataset: Dataset,
  options: CalibrateOptions = {},
): Promise<Calibration> {
  const raw = florence.withAdapter().withHooks([]); // its calibration is not that of other calls
  raw.calibration = null;
  const calibration = fitCalibration(await answerOutcomes(raw, dataset, options));
  florence.calibration = calibration;
  return calibration;
}

/** Fits the curve of each task to the outcomes of answers with raw confidences. */
export const fitCalibration = (outcomes: ReadonlyMap<string, readonly Outcome[]>): Calibration =>
  Object.fromEntries([...outcomes].map(([task, list]) => [task, isotonicRegression(list)]));

/**
 * Returns the confidence of each answer of a dataset and whether it is right, by task; see `outcomesOf`.
 *
 * @throws UsageError for wrong options, and the error of an example that cannot be answered, unless `onProblem` is given
 */
export async function answerOutcomes(
  florence: Florence2,
  dataset: Dataset,
  options: CalibrateOptions = {},
): Promise<Map<string, Outcome[]>> {
  checkOptions('answerOutcomes', options, CALIBRATE);
  checkKind('dataset', dataset, DATASET);
  const outcomes = new Map<string, Outcome[]>();
  await answerDataset(florence, dataset, options, ({ targets }, results) => {
    for (const [j, result] of results.entries()) {
      const truth = readTruth(targets[j].answer, result.task, result.imageSize, options.keepUnicode ?? false);
      outcomes.set(result.task, [...(outcomes.get(result.task) ?? []), ...outcomesOf(truth, result)]);
    }
  });
  return new Map([...outcomes].filter(([, list]) => list.length > 0));
}

/**
 * Answers all targets of a dataset, image by image.
 *
 * @param judge receives each example with the answers to its targets
 */
export async function answerDataset(
  florence: Florence2,
  dataset: Dataset,
  { onProgress, onProblem, ...options }: CalibrateOptions,
  judge: (example: TrainingExample, results: TaskResult[]) => void,
): Promise<void> {
  const call = florence.withAdapter();
  for (let i = 0; i < dataset.length; i++) {
    let source = `${dataset.name}[${i}]`;
    try {
      const example = await dataset.example(i);
      ({ source } = example);
      judge(example, await answerTargets(call, example, options));
    } catch (error) {
      if (!onProblem || !(error instanceof Florence2Error)) throw error;
      onProblem({ severity: 'error', source, message: error.message });
    }
    onProgress?.(i + 1, dataset.length);
  }
}

async function answerTargets(
  florence: Florence2,
  { image: input, targets }: TrainingExample,
  options: RunOptions,
): Promise<TaskResult[]> {
  const image = await florence.encodeImage(input, pickOptions(options, DECODE_OPTIONS));
  try {
    const requests = targets.map(({ task, text, box }) => ({ image, task, text, box }));
    return await florence.runBatch(requests, { ...options, doSample: options.doSample ?? false });
  } finally {
    image.dispose();
  }
}
