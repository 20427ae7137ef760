import { Command } from 'commander';
import type { ParityFlags } from '../actions/parity.ts';
import { backendOption } from '../options.ts';

/** `florence2 parity`: compares every layer with PyTorch. */
export function parityCommand(): Command {
  return new Command('parity')
    .summary('compare every layer with PyTorch')
    .description(
      'Compares activations, logits, losses, caches and generated sequences with those that PyTorch recorded in a ' +
        'reference folder, and marks the first layer that differs by more than its tolerance. Exit code 1 if any does.',
    )
    .argument('<dir>', 'reference folder (with manifest.json), or a folder of reference folders')
    .addOption(backendOption())
    .option('--training', 'also repeat the trainings in train/ and lora/: losses, gradients, parameters and adapters')
    .option('--json', 'print the complete report as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async (dir: string, flags: ParityFlags) => {
      const { runParity } = await import('../actions/parity.ts');
      await runParity(dir, flags);
    });
}

const EXAMPLES = `
Examples:
  $ florence2 parity test/reference/model
  $ florence2 parity dumps/tiny --training
  $ florence2 parity dumps/base --backend wasm --json > report.json`;
