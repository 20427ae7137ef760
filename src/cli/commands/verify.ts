import { Command } from 'commander';
import type { VerifyFlags } from '../actions/verify.ts';
import { backendOption, MODEL_HELP, REVISION_HELP } from '../options.ts';

/** `florence2 verify`: check a real checkpoint by its published answers. */
export function verifyCommand(): Command {
  return new Command('verify')
    .summary('check a real checkpoint by its published answers')
    .description(
      'Downloads (or takes) a published checkpoint, asks it what others have asked the original, and compares the ' +
        'answers. Exit code 1 when one differs.',
    )
    .argument('<model>', MODEL_HELP)
    .option('--as <id>', "whose answers to expect; default: the model's own name")
    .option('--images <dir>', 'a folder with the images (car.jpg, cats.jpg), in place of their URLs')
    .option('--cases <file>', 'other answers to check, in the form of src/parity/published/answers.ts, as JSON')
    .option('--revision <name>', REVISION_HELP)
    .addOption(backendOption())
    .option('--json', 'print JSON Lines, one object for each answer')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string, flags: VerifyFlags) => {
      const { runVerify } = await import('../actions/verify.ts');
      await runVerify(model, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 verify microsoft/Florence-2-base
  $ florence2 verify ./download --as microsoft/Florence-2-large --images ./images`;
