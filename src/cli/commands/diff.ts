import { Command, Option } from 'commander';
import type { DiffFlags } from '../actions/diff.ts';
import { count, number } from '../kinds.ts';
import { addImageOptions, addModelOptions, addQuestionOptions, BACKEND_CHOICES, collect, parser } from '../options.ts';

/** `florence2 diff`: compares two runs layer by layer. */
export function diffCommand(): Command {
  const command = new Command('diff')
    .summary('compare two runs layer by layer')
    .description(
      'Compares two runs on the same images: the activations at every hook point, and the answers. Both decoders receive ' +
        'the greedy answer of run A, so that their activations correspond. --model, --adapter and --backend describe run ' +
        'A. Run B differs from it by the --b-… options. Activations of run A are kept in temporary files: 3 GB per image ' +
        'for all points of a model like Florence-2-base, less with --at.',
    )
    .argument('<image...>', 'image files, folders, glob patterns, URLs, PDF files, or - for standard input');
  return addImageOptions(addModelOptions(addQuestionOptions(command)))
    .option('--b-model <model>', 'model of run B; default: that of run A')
    .option('--b-revision <name>', 'revision of run B')
    .option('--b-adapter <dir>', 'adapter of run B; "none" for no adapter')
    .addOption(new Option('--b-backend <name>', 'backend of run B').choices(BACKEND_CHOICES))
    .option('--at <name>', 'compare only these hook points, by name or glob; repeatable', collect)
    .option(
      '--tolerance <number>',
      'exit with code 1 if a relative difference is larger; default: only mark differences above 1e-3',
      parser(number),
    )
    .option(
      '--max-new-tokens <n>',
      'maximum length of an answer in tokens; default: from the checkpoint',
      parser(count),
    )
    .option('--json', 'print the complete report as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async (images: string[], flags: DiffFlags) => {
      const { runDiff } = await import('../actions/diff.ts');
      await runDiff(images, flags);
    });
}

const EXAMPLES = `
Examples:
  One model on two backends:
  $ florence2 diff photo.jpg --task od --backend tensorflow --b-backend wasm --tolerance 1e-3
  A model and its fine-tuned version:
  $ florence2 diff photo.jpg --task od --model microsoft/Florence-2-base --b-model ./my-finetune
  A model without and with an adapter, and with two adapters:
  $ florence2 diff photos/ --task caption --b-adapter runs/dents/best
  $ florence2 diff photo.jpg --task caption --adapter runs/a/best --b-adapter runs/b/best
  Only the residual stream after each layer of the decoder:
  $ florence2 diff photo.jpg --task caption --b-model ./my-finetune --at "language_model.decoder.layers.*.hook_resid_post"`;
