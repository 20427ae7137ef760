import { SingleBar } from 'cli-progress';
import { keepProductTimes, measureProducts, readProductTimes } from '../../runtime/product_times.ts';
import { type SetupProgress, setupTensorflow } from '../../runtime/setup/setup_tensorflow.ts';
import { graphsSupported } from '../../runtime/tensorflow.ts';
import { nameOnOneLine, print, printNote } from '../print/terminal.ts';

export interface SetupFlags {
  gpu?: boolean;
  tensorflow?: string;
  force?: boolean;
}

/** Sets TensorFlow up with progress on stderr, then prints its description and its folder. */
export async function runSetup({ gpu, tensorflow, force }: SetupFlags): Promise<void> {
  const display = new Display();
  try {
    const onProgress = (progress: SetupProgress) => display.show(progress);
    const result = await setupTensorflow({ variant: gpu ? 'gpu' : 'cpu', tensorflow, force, onProgress });
    display.stop();
    print(`${result.description} ${result.reused ? 'was already set up and works' : 'is set up and works'}.`);
    if (gpu && result.description.includes('CPU')) print('CUDA found no usable GPU: this backend computes on the CPU.');
    print(result.folder);
    if (!gpu && (force || !readProductTimes())) {
      printNote('Measuring the precisions');
      const { useBackend } = await import('../../runtime/backend.ts');
      await useBackend('tensorflow');
      if (graphsSupported()) await keepProductTimes(await measureProducts());
    }
  } finally {
    display.stop();
  }
}

const VERBS = { download: 'Downloading', unpack: 'Unpacking', compile: 'Compiling', check: 'Testing' };

/** Shows the steps of the setup on stderr: a bar per step on a terminal, a line per step elsewhere. */
class Display {
  private bar?: SingleBar;
  private step = '';

  show({ stage, file, loaded, total }: SetupProgress): void {
    const step = nameOnOneLine(`${VERBS[stage]} ${file.replace(/(-[^-]+){3}\.whl$/, '')}`); // only a wheel's project and version
    const measured = stage === 'download' || stage === 'unpack';
    if (step !== this.step) {
      this.stop();
      this.step = step;
      if (!process.stderr.isTTY || !measured) printNote(step);
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
