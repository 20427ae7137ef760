import { Command, Option } from 'commander';
import type { DiffFlags } from '../actions/diff.ts';
import { count, number } from '../kinds.ts';
import { addImageOptions, addModelOptions, addQuestionOptions, backendChoices, collect, parser } from '../options.ts';

/** `florence2 diff`: two runs, layer by layer. */
export function diffCommand(): Command {
  const command = new Command('diff')
    .summary('compare two runs layer by layer')
    .description(
      'Compares two runs on the same images: every hook point of a pass in which both are given the greedy answer of run ' +
        'A, then the two answers. Run A is named by --model, --adapter and --backend; run B is the same but for what the ' +
        '--b-… options say. What A computes waits in temporary files: 3 GB for an image and all points of a model like ' +
        'Florence-2-base, less with --at.',
    )
    .argument('<image...>', 'image files, folders, patterns or URLs');
  return addImageOptions(addModelOptions(addQuestionOptions(command)))
    .option('--b-model <dir|id>', 'another model for run B')
    .option('--b-revision <name>', 'another revision')
    .option('--b-adapter <dir>', 'another adapter; "none": without one')
    .addOption(new Option('--b-backend <name>', 'another backend').choices(backendChoices))
    .option('--at <name>', 'only these hook points, by name or glob; may be repeated', collect)
    .option(
      '--tolerance <number>',
      'exit with 1 where a relative difference is above it (default: marked above 1e-3)',
      parser(number),
    )
    .option('--max-new-tokens <n>', 'longest answer', parser(count))
    .option('--json', 'print the whole report as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async (images: string[], flags: DiffFlags) => {
      const { runDiff } = await import('../actions/diff.ts');
      await runDiff(images, flags);
    });
}

const EXAMPLES = `
Examples:
  One model on two backends
  $ florence2 diff street.jpg --task od --backend tensorflow --b-backend wasm --tolerance 1e-3
  A model and its fine-tuning
  $ florence2 diff street.jpg --task od --model microsoft/Florence-2-base --b-model ./my-finetune
  Without and with an adapter, and two adapters
  $ florence2 diff photos/ --task caption --b-adapter runs/dents/best
  $ florence2 diff street.jpg --task caption --adapter runs/a/best --b-adapter runs/b/best
  Only what each layer of the decoder leaves in the residual stream
  $ florence2 diff street.jpg --task caption --b-model ./my-finetune --at "language_model.decoder.layers.*.hook_resid_post"`;
