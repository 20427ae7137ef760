import { Command, Option } from 'commander';
import { BENCHMARK_NAMES } from '../../evaluation/published.ts';
import type { EvalFlags } from '../actions/eval.ts';
import { addAnswerOptions, addDatasetOptions } from '../answer_options.ts';
import { addModelOptions, collect } from '../options.ts';

/** `florence2 eval`: compares the answers of a model with those of a dataset. */
export function evalCommand(): Command {
  const command = new Command('eval')
    .summary('measure a model on a dataset')
    .description(
      'Answers a dataset and prints the metrics of each task: COCO mAP, CIDEr-D, error rates, recalls, and how well ' +
        'confidences fit. With --out, metrics.json and metrics.csv have all of them, and those of each class.',
    )
    .argument('[data]', 'dataset in a format of "florence2 train"')
    .option('-t, --task <name>', 'task by name or token, repeatable; default: as "florence2 train"', collect)
    .addOption(
      new Option('--split <name>', 'split of the dataset; default: test, valid, or the annotations themselves').choices(
        [...['train', 'valid', 'test']],
      ),
    )
    .addOption(
      new Option('--benchmark <name>', 'a benchmark of the paper, as distributed, in the folder of --data')
        .choices(BENCHMARK_NAMES)
        .conflicts(['task', 'split']),
    )
    .option('--data <dir>', 'folder with the annotations and images of --benchmark')
    .addOption(
      new Option(
        '--predictions <path>',
        'answers of any model instead of those of --model: a dataset in a format of "florence2 convert", or a list of COCO results; no model is loaded',
      ).conflicts(['benchmark', 'model', 'adapter', 'backend', 'precision']),
    )
    .option('-o, --out <dir>', 'folder for metrics.json and metrics.csv, or benchmark.json');
  addDatasetOptions(addAnswerOptions(addModelOptions(command)));
  return command.addHelpText('after', EXAMPLES).action(async (data: string | undefined, flags: EvalFlags) => {
    const { runEval } = await import('../actions/eval.ts');
    await runEval(data, flags);
  });
}

const EXAMPLES = `
Examples:
  $ florence2 eval data/dents --model runs/dents/best
  $ florence2 eval data/dents --predictions detections.json
  $ florence2 eval --benchmark refcoco --data data/refer -m microsoft/Florence-2-base
  $ florence2 eval data/dents --adapter runs/dents/best --split test --out runs/dents/test`;
