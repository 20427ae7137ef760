import { datasetSplits } from '../../datasets/open.ts';
import type { Split } from '../../datasets/reading.ts';
import { answerOutcomes, fitCalibration } from '../../evaluation/calibrate.ts';
import { expectedCalibrationError } from '../../evaluation/confidence.ts';
import { CALIBRATION_FILE, writeCalibration } from '../../results/calibration.ts';
import { type AnswerDataFlags, answerData } from '../answer_data.ts';
import { print, printNote } from '../print/terminal.ts';

/** Fits a calibration, writes it, and prints for each task the share of right answers and the calibration error before. */
export async function runCalibrate(flags: CalibrateFlags): Promise<void> {
  const hasValid = (await datasetSplits(flags.data)).includes('valid');
  await answerData(
    flags.data,
    { split: flags.split ?? (hasValid ? 'valid' : undefined) },
    flags,
    (model, dataset, options) => {
      model.calibration = null; // raw confidences
      return answerOutcomes(model, dataset, options);
    },
    async (outcomes, model) => {
      const folder = flags.out ?? flags.adapter ?? model.folder;
      await writeCalibration(folder, fitCalibration(outcomes));
      for (const [task, list] of outcomes) {
        const share = list.filter(({ right }) => right).length / list.length;
        const error = expectedCalibrationError(list);
        const figures = `${list.length} answers, ${share.toFixed(2)} right, calibration error ${error.toFixed(2)}`;
        print(`${task.padEnd(37)} ${figures}`);
      }
      printNote(`Wrote ${CALIBRATION_FILE} to ${folder}.`);
    },
  );
}

export interface CalibrateFlags extends AnswerDataFlags {
  data: string;
  split?: Split;
  out?: string;
}
