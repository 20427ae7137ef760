import type { Dataset } from '../datasets/example.ts';
import { type OpenOptions, openDataset } from '../datasets/open.ts';
import type { DatasetProblem } from '../datasets/reading.ts';
import { Florence2Error } from '../errors.ts';
import type { CalibrateOptions } from '../evaluation/calibrate.ts';
import type { Florence2 } from '../florence2.ts';
import { type AnswerFlags, answerOptions } from './answer_options.ts';
import { interruptSignal, printError, reportFailures } from './exit.ts';
import { loadModel, type ModelFlags } from './load_model.ts';
import { ProgressBars } from './progress.ts';

/** Flags of the commands that answer a dataset. */
export interface AnswerDataFlags extends ModelFlags, AnswerFlags {
  /** With `skip`, images that fail are printed, counted and left out; else the first one ends the command. */
  onError: 'stop' | 'skip';
  /** Folder of the images, if it is not within the dataset. */
  imageRoot?: string;
}

/**
 * Opens a dataset, loads the model, answers the dataset with a progress bar, and reports the answers.
 *
 * @param answer answers the dataset with these options
 * @throws Florence2Error if all images fail
 */
export async function answerData<Answers>(
  data: string,
  open: Pick<OpenOptions, 'split' | 'tasks'>,
  flags: AnswerDataFlags,
  answer: (model: Florence2, dataset: Dataset, options: CalibrateOptions) => Promise<Answers>,
  report: (answers: Answers, model: Florence2) => Promise<void>,
): Promise<void> {
  const bars = new ProgressBars();
  let failed = 0;
  const skip = ({ severity, source, message }: DatasetProblem): void => {
    if (severity === 'warning') return;
    failed++;
    bars.stop();
    printError(new Florence2Error(`${source}: ${message}`));
  };
  const onProblem = flags.onError === 'skip' ? skip : undefined;
  const dataset = await openDataset(data, { ...open, imageRoot: flags.imageRoot, onProblem });
  const total = dataset.length + failed;
  const signal = interruptSignal();
  const model = await loadModel(flags);
  try {
    const onProgress = (done: number, total: number) => bars.show('Images', done, total, 'images');
    const answers = await answer(model, dataset, { ...answerOptions(flags), signal, onProgress, onProblem });
    bars.stop();
    if (failed === total) throw new Florence2Error(`None of the ${total} images can be answered.`);
    await report(answers, model);
    reportFailures(failed, total);
  } finally {
    bars.stop();
    model.dispose();
  }
}
