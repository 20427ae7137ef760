import { SingleBar } from 'cli-progress';
import { Command } from 'commander';
import { defaultTensorflow, type SetupProgress, setupTensorflow } from '../../runtime/setup/setup_tensorflow.ts';

interface Options {
  gpu: boolean;
  tensorflow: string;
  force: boolean;
}

/** `florence2 setup tensorflow [--gpu]` */
export function setupCommand(): Command {
  const setup = new Command('setup').description('prepare a backend that needs more than npm brings');
  setup
    .command('tensorflow')
    .description('make the tensorflow backend run on a current TensorFlow')
    .option('--gpu', "with CUDA 12 and NVIDIA's libraries (linux x64; about 3 GB to download)", false)
    .option('--tensorflow <version>', 'release of TensorFlow', defaultTensorflow)
    .option('--force', 'make it again although it is there', false)
    .addHelpText('after', helpText)
    .action(run);
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

async function run({ gpu, tensorflow, force }: Options): Promise<void> {
  const display = new Display();
  try {
    const onProgress = (progress: SetupProgress) => display.show(progress);
    const result = await setupTensorflow({ variant: gpu ? 'gpu' : 'cpu', tensorflow, force, onProgress });
    display.stop();
    console.log(`${result.description} ${result.reused ? 'was set up already and runs' : 'is set up and runs'}.`);
    if (gpu && result.description.includes('CPU'))
      console.log('No GPU that CUDA can use was found: it computes on the CPU.');
    console.log(result.folder);
  } finally {
    display.stop();
  }
}

const verbs = { download: 'Downloading', unpack: 'Unpacking', compile: 'Compiling', check: 'Trying' };

/** A bar per step on a terminal, a line per step elsewhere. On stderr: stdout is for results. */
class Display {
  private bar?: SingleBar;
  private step = '';

  show({ stage, file, loaded, total }: SetupProgress): void {
    const step = `${verbs[stage]} ${file.replace(/(-[^-]+){3}\.whl$/, '')}`; // a wheel's project and version
    const measured = stage === 'download' || stage === 'unpack';
    if (step !== this.step) {
      this.stop();
      this.step = step;
      if (!process.stderr.isTTY || !measured) process.stderr.write(`${step}\n`);
      else this.bar = startBar(step, total);
    }
    this.bar?.setTotal(total / 1e6);
    this.bar?.update(loaded / 1e6);
  }

  stop(): void {
    this.bar?.stop();
    delete this.bar;
  }
}

function startBar(step: string, total: number): SingleBar {
  const bar = new SingleBar({
    format: `${step}  {bar} {percentage}%  {value} of {total} MB`,
    formatValue: value => String(Math.round(value)),
    barsize: 20,
    stream: process.stderr,
    hideCursor: true,
  });
  bar.start(total / 1e6, 0);
  return bar;
}
