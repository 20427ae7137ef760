import { Command } from 'commander';
import type { ParityFlags } from '../actions/parity.ts';
import { backendOption } from '../options.ts';

/** `florence2 parity`: prove every layer equal to PyTorch's. */
export function parityCommand(): Command {
  return new Command('parity')
    .summary('compare every layer with what PyTorch computed')
    .description(
      'Compares activations, logits, losses, caches and generated sequences with those of a reference folder, and marks ' +
        'the first layer that departs. Exit code 1 when anything does.',
    )
    .argument('<dir>', 'a reference folder (with manifest.json), or a folder of such folders')
    .addOption(backendOption())
    .option('--training', 'train as PyTorch did, too: losses, gradients, parameters and adapters of train/ and lora/')
    .option('--json', 'print the whole report as JSON')
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
