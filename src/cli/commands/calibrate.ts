import { Command, Option } from 'commander';
import type { CalibrateFlags } from '../actions/calibrate.ts';
import { addAnswerOptions, addDatasetOptions } from '../answer_options.ts';
import { addModelOptions, addOutOption } from '../options.ts';

/** `florence2 calibrate`: fits confidences to the share of right answers. */
export function calibrateCommand(): Command {
  const command = new Command('calibrate')
    .summary('fit confidences to the share of right answers')
    .description(
      'Answers a dataset and fits, for each task, a map from confidences to the share of right answers. It is written to ' +
        'calibration.json beside the model or the adapter, and used whenever that is loaded. Use images that the model ' +
        'was not trained on, with some hundred objects for each task.',
    )
    .requiredOption('-d, --data <path>', 'dataset in a format of "florence2 train"')
    .addOption(new Option('--split <name>', SPLIT_HELP).choices(['train', 'valid', 'test']));
  addOutOption(command, '<dir>', 'folder for calibration.json; default: that of the adapter, or of the model', false);
  addDatasetOptions(addAnswerOptions(addModelOptions(command)));
  return command.addHelpText('after', EXAMPLES).action(async (flags: CalibrateFlags) => {
    const { runCalibrate } = await import('../actions/calibrate.ts');
    await runCalibrate(flags);
  });
}

const SPLIT_HELP = 'split of the dataset; default: valid, or the annotations themselves if it has no splits';

const EXAMPLES = `
The confidences of a model depend on how it decodes: give the same --beams as later to "florence2 run".

Examples:
  $ florence2 calibrate -d data/dents --model runs/dents/best
  $ florence2 calibrate -d data/dents --adapter runs/dents/best --beams 1
  $ florence2 run photo.jpg -t od --adapter runs/dents/best --min-score 0.5`;
