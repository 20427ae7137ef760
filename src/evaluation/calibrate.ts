import type { Dataset } from '../datasets/example.ts';
import type { Florence2 } from '../florence2.ts';
import { DECODE_OPTIONS } from '../image/types.ts';
import { pickOptions } from '../options.ts';
import type { RunOptions } from '../requests.ts';
import type { Calibration } from '../results/calibration.ts';
import { isotonicRegression, type Outcome } from './confidence.ts';
import { readTruth } from './judge.ts';
import { outcomesOf } from './outcomes.ts';

/** Options of `calibrate` and `answerOutcomes`: how the images are decoded and the answers generated. */
export interface CalibrateOptions extends Omit<RunOptions, 'adapter'> {
  /** Called after each image. */
  onProgress?: (done: number, total: number) => void;
}

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

/** Returns the confidence of each answer of a dataset and whether it is right, by task; see `outcomesOf`. */
export async function answerOutcomes(
  florence: Florence2,
  dataset: Dataset,
  { onProgress, ...options }: CalibrateOptions = {},
): Promise<Map<string, Outcome[]>> {
  const outcomes = new Map<string, Outcome[]>();
  for (let i = 0; i < dataset.length; i++) {
    const { image: input, targets } = await dataset.example(i);
    const image = await florence.encodeImage(input, pickOptions(options, DECODE_OPTIONS));
    try {
      const requests = targets.map(({ task, text, box }) => ({ image, task, text, box }));
      for (const [j, result] of (await florence.runBatch(requests, { doSample: false, ...options })).entries()) {
        const truth = readTruth(targets[j].answer, result.task, image.imageSize, options.keepUnicode ?? false);
        outcomes.set(result.task, [...(outcomes.get(result.task) ?? []), ...outcomesOf(truth, result)]);
      }
    } finally {
      image.dispose();
    }
    onProgress?.(i + 1, dataset.length);
  }
  return new Map([...outcomes].filter(([, list]) => list.length > 0));
}
