import { Command } from 'commander';
import type { VerifyFlags } from '../actions/verify.ts';
import { backendOption, REVISION_HELP } from '../options.ts';

/** `florence2 verify`: compares a checkpoint's answers with published ones. */
export function verifyCommand(): Command {
  return new Command('verify')
    .summary("compare a checkpoint's answers with published answers")
    .description(
      'Runs a published checkpoint on images with known answers of the original model, and compares the answers. Exit ' +
        'code 1 if one differs.',
    )
    .argument('<model>', 'folder, or an id on the Hugging Face hub (owner/name)')
    .option('--as <id>', "expect this model's answers; default: those of the model with the same name")
    .option('--images <dir>', 'folder with the images (car.jpg, cats.jpg); default: download them')
    .option('--cases <file>', 'JSON file with other expected answers, in the form of src/parity/published/answers.ts')
    .option('--revision <name>', REVISION_HELP)
    .addOption(backendOption())
    .option('--json', 'print JSON Lines: one object per answer')
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
