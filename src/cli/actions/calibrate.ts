import { datasetSplits, openDataset } from '../../datasets/open.ts';
import type { Split } from '../../datasets/reading.ts';
import { answerOutcomes, fitCalibration } from '../../evaluation/calibrate.ts';
import { expectedCalibrationError } from '../../evaluation/confidence.ts';
import { CALIBRATION_FILE, writeCalibration } from '../../results/calibration.ts';
import { type AnswerFlags, answerOptions } from '../answer_options.ts';
import { FailedImages, interruptSignal, reportFailures } from '../exit.ts';
import { loadModel, type ModelFlags } from '../load_model.ts';
import { print, printNote } from '../print/terminal.ts';
import { ProgressBars } from '../progress.ts';

/** Fits a calibration, writes it, and prints for each task the share of right answers and the calibration error before. */
export async function runCalibrate(flags: CalibrateFlags): Promise<void> {
  const bars = new ProgressBars();
  const failed = new FailedImages(flags.onError, bars);
  const { onProblem } = failed;
  const hasValid = (await datasetSplits(flags.data)).includes('valid');
  const dataset = await openDataset(flags.data, { split: flags.split ?? (hasValid ? 'valid' : undefined), onProblem });
  const total = dataset.length + failed.count;
  const signal = interruptSignal();
  const model = await loadModel(flags);
  try {
    model.calibration = null; // raw confidences
    const outcomes = await answerOutcomes(model, dataset, {
      ...answerOptions(flags),
      signal,
      onProgress: (done, total) => bars.show('Images', done, total, 'images'),
      onProblem,
    });
    bars.stop();
    failed.requireAnswers(total);
    const folder = flags.out ?? flags.adapter ?? model.folder;
    await writeCalibration(folder, fitCalibration(outcomes));
    for (const [task, list] of outcomes) {
      const share = list.filter(({ right }) => right).length / list.length;
      const error = expectedCalibrationError(list);
      const figures = `${list.length} answers, ${share.toFixed(2)} right, calibration error ${error.toFixed(2)}`;
      print(`${task.padEnd(37)} ${figures}`);
    }
    printNote(`Wrote ${CALIBRATION_FILE} to ${folder}.`);
    reportFailures(failed.count, total);
  } finally {
    bars.stop();
    model.dispose();
  }
}

export interface CalibrateFlags extends ModelFlags, AnswerFlags {
  data: string;
  split?: Split;
  out?: string;
  onError: 'stop' | 'skip';
}
