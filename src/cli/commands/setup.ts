import { Command } from 'commander';
import type { SetupFlags } from '../actions/setup.ts';

/** `florence2 setup tensorflow`: prepares the tensorflow backend. */
export function setupCommand(): Command {
  const setup = new Command('setup').description('prepare a backend that needs more than npm brings');
  setup
    .command('tensorflow')
    .description('make the tensorflow backend run on a current TensorFlow')
    .option('--gpu', "with CUDA 12 and NVIDIA's libraries (linux x64; about 3 GB to download)")
    .option('--tensorflow <version>', 'release of TensorFlow; default: the newest one that this package is tested with')
    .option('--force', 'make it again although it is there')
    .addHelpText('after', helpText)
    .action(async (flags: SetupFlags) => {
      const { runSetup } = await import('../actions/setup.ts');
      await runSetup(flags);
    });
  return setup;
}

const helpText = `
The TensorFlow wheel comes from the package index that pip is set up with (PIP_INDEX_URL, pip.conf; else PyPI), the
binding's source from the npm registry. Python is not needed; a C++17 compiler is. Everything is kept in the user's
cache folder (FLORENCE2_CACHE names another), so it is done once, and "npm ci" does not undo it.

Examples:
  $ florence2 setup tensorflow          about 270 MB to download, 860 MB on disk
  $ florence2 setup tensorflow --gpu
  $ PIP_INDEX_URL=https://pypi.example.org/simple florence2 setup tensorflow`;
