import { type Command, Option } from 'commander';
import { backendNames } from '../runtime/backend.ts';

export const backendChoices = ['auto', ...backendNames];

/** The options that say which model runs, and where. */
export function addModelOptions(command: Command): Command {
  return command
    .option('-m, --model <dir|id>', 'a folder, or an id on the Hugging Face hub', 'microsoft/Florence-2-base')
    .option('--revision <name>', 'branch, tag or commit on the hub')
    .option('--adapter <dir>', 'a LoRA adapter, a folder as PEFT saves it')
    .addOption(new Option('-b, --backend <name>', 'where it runs').choices(backendChoices).default('auto'));
}
