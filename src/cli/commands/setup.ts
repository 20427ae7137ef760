import { Command } from 'commander';
import type { SetupFlags } from '../actions/setup.ts';

/** `florence2 setup tensorflow`: sets up the tensorflow backend. */
export function setupCommand(): Command {
  const setup = new Command('setup')
    .summary('set up a backend that npm alone does not install')
    .description('Sets up a backend that npm alone does not install.');
  setup
    .command('tensorflow')
    .summary('set up the tensorflow backend')
    .description('Sets up the tensorflow backend with a current TensorFlow, the fastest backend in Node.')
    .option('--gpu', "with CUDA 12 and NVIDIA's libraries (Linux x64; downloads about 3 GB)")
    .option('--tensorflow <version>', 'TensorFlow release; default: the release that this package is tested with')
    .option('--force', 'set it up again even if it exists')
    .addHelpText('after', HELP_TEXT)
    .action(async (flags: SetupFlags) => {
      const { runSetup } = await import('../actions/setup.ts');
      await runSetup(flags);
    });
  return setup;
}

const HELP_TEXT = `
The TensorFlow wheel is downloaded from pip's package index (PIP_INDEX_URL or pip.conf, else PyPI), the source of the
binding from the npm registry. Setup needs a C++17 compiler, but no Python. The result is kept in the user's cache
folder (FLORENCE2_CACHE sets another). One setup is therefore enough: "npm ci" does not remove it.

Examples:
  $ florence2 setup tensorflow          downloads about 270 MB, needs 860 MB on disk
  $ florence2 setup tensorflow --gpu
  $ PIP_INDEX_URL=https://pypi.example.org/simple florence2 setup tensorflow`;
