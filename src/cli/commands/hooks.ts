import { Command } from 'commander';
import type { HooksFlags } from '../actions/hooks.ts';
import { count } from '../kinds.ts';
import { addModelOptions, IMAGE_SIZE_HELP, parser } from '../options.ts';

/** `florence2 hooks`: lists the hook points of a model with their shapes. */
export function hooksCommand(): Command {
  const command = new Command('hooks')
    .summary('list the hook points of a model with their shapes')
    .description(
      'Lists the names of all hook points in the order of execution, with the shapes of their activations for one image, ' +
        'a prompt and an answer: B, T and S of the documentation are 1, and the numbers of tokens of --answer and of ' +
        'image and prompt.',
    )
    .argument('[filter]', 'names to list: a name, or a glob (* within a dotted part, ** across parts); default: all');
  return addModelOptions(command)
    .option('--image-size <pixels>', IMAGE_SIZE_HELP, parser(count))
    .option('-t, --task <name>', 'task or prompt', 'caption')
    .option('--answer <text>', 'answer that the decoder receives', 'a car')
    .option('--json', 'print one JSON object per line')
    .addHelpText('after', EXAMPLES)
    .action(async (filter = '**', flags: HooksFlags) => {
      const { runHooks } = await import('../actions/hooks.ts');
      await runHooks(filter, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 hooks --model demo
  $ florence2 hooks "**.hook_pattern" --model demo
  $ florence2 hooks "language_model.decoder.layers.0.**" --model ./my-finetune --json`;
