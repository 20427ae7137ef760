import { join } from 'node:path';
import type { DatasetProblem } from '../../datasets/reading.ts';
import { Florence2Error } from '../../errors.ts';
import { type BenchmarkResult, evaluateBenchmark } from '../../evaluation/benchmarks.ts';
import { type BenchmarkName, PUBLISHED_MODELS, publishedFigures } from '../../evaluation/published.ts';
import { writeWhole } from '../../files/write.ts';
import type { AnswerDataFlags } from '../answer_data.ts';
import { answerOptions } from '../answer_options.ts';
import { interruptSignal, printError, reportFailures } from '../exit.ts';
import { loadModel } from '../load_model.ts';
import { finiteNumbers } from '../print/numbers.ts';
import { print, printNote } from '../print/terminal.ts';
import { ProgressBars } from '../progress.ts';

/** Flags of `florence2 eval --benchmark`. */
interface BenchmarkFlags extends AnswerDataFlags {
  out?: string;
}

/** Answers a benchmark, and prints its figures beside the published ones. */
export async function runBenchmark(name: BenchmarkName, folder: string, flags: BenchmarkFlags): Promise<void> {
  const bars = new ProgressBars();
  let [failed, images] = [0, 0];
  const skip = ({ source, message }: DatasetProblem): void => {
    failed++;
    bars.stop();
    printError(new Florence2Error(`${source}: ${message}`));
  };
  const onProgress = (done: number, total: number): void => {
    images += 1;
    bars.show('Images', done, total, 'images');
  };
  const model = await loadModel(flags);
  try {
    const results = await evaluateBenchmark(model, name, folder, {
      ...{ ...answerOptions(flags), signal: interruptSignal(), onProgress },
      onProblem: flags.onError === 'skip' ? skip : undefined,
    });
    bars.stop();
    for (const result of results) print(figuresOf(name, result, flags.model));
    if (flags.out !== undefined) {
      const { model, adapter, out } = flags;
      const json = JSON.stringify({ model, adapter, benchmark: name, data: folder, splits: results }, finiteNumbers, 1);
      await writeWhole(join(out, 'benchmark.json'), new TextEncoder().encode(`${json}\n`));
      printNote(`Wrote benchmark.json to ${out}.`);
    }
    reportFailures(failed, images);
  } finally {
    bars.stop();
    model.dispose();
  }
}

/** Returns the lines of a split. Beside the reported metric are the figures of the model, or of all four, in the paper. */
function figuresOf(name: BenchmarkName, { split, questions, metrics, figure }: BenchmarkResult, model: string): string {
  const own = /florence-2-(base|large)(-ft)?$/i.exec(model)?.[0].slice('florence-2-'.length).toLowerCase();
  const published = Object.entries(publishedFigures(name)).filter(
    ([of]) => of === split || !(split in publishedFigures(name)),
  );
  const paper = published.map(([of, values]) => {
    const known = PUBLISHED_MODELS.map((of, i) => ({ of, value: values[i] })).filter(
      ({ value }) => !Number.isNaN(value),
    );
    const wanted = known.some(one => one.of === own) ? known.filter(one => one.of === own) : known;
    return `${of === split ? '' : `${of}: `}${wanted.map(one => `${one.of} ${one.value.toFixed(1)}`).join(', ')}`;
  });
  const width = Math.max(...Object.keys(metrics).map(metric => metric.length));
  const lines = Object.entries(metrics).map(([metric, value]) => {
    const beside = metric === figure ? `  (paper: ${paper.join('; ')})` : '';
    return `  ${metric.padEnd(width)} ${value.toFixed(1).padStart(6)}${beside}`;
  });
  return [`${name} ${split}, ${questions} questions`, ...lines].join('\n');
}
