import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dataset } from '../../datasets/example.ts';
import { datasetSplits, type OpenOptions, openDataset } from '../../datasets/open.ts';
import type { DatasetProblem, Split } from '../../datasets/reading.ts';
import { UsageError } from '../../errors.ts';
import { mean } from '../../evaluation/detection.ts';
import { evaluate, type TaskEvaluation } from '../../evaluation/evaluate.ts';
import { evaluatePredictions } from '../../evaluation/predictions.ts';
import type { BenchmarkName } from '../../evaluation/published.ts';
import { fileError } from '../../files/errors.ts';
import { csvLine } from '../../files/lines.ts';
import { writeWhole } from '../../files/write.ts';
import { type AnswerDataFlags, answerData } from '../answer_data.ts';
import { finiteNumbers } from '../print/numbers.ts';
import { print, printNote, printProblem } from '../print/terminal.ts';

/** Answers a benchmark or a dataset, and prints its figures. */
export async function runEval(data: string | undefined, flags: EvalFlags): Promise<void> {
  const { benchmark, data: folder } = flags;
  if (data === undefined && benchmark === undefined)
    throw new UsageError('Name a dataset, or --benchmark with --data.');
  if (benchmark === undefined) {
    if (folder !== undefined) throw new UsageError('--data is the folder of a --benchmark: name which one.');
    return evalDataset(data!, flags);
  }
  if (data !== undefined) throw new UsageError('A benchmark is read from --data, without another dataset.');
  if (folder === undefined)
    throw new UsageError('--benchmark needs --data: the folder with its annotations and images.');
  const { runBenchmark } = await import('./benchmark.ts');
  await runBenchmark(benchmark, folder, flags);
}

/** Answers a dataset, prints the metrics of each task, and writes them with those of each class. */
async function evalDataset(data: string, flags: EvalFlags): Promise<void> {
  const splits = await datasetSplits(data);
  const split = flags.split ?? (['test', 'valid'] as const).find(name => splits.includes(name));
  const report = async (tasks: Measured['tasks'], of: Pick<Measured, 'model' | 'adapter' | 'predictions'>) => {
    for (const [task, { metrics }] of Object.entries(tasks)) {
      const { count, ...others } = metrics;
      const figures = Object.entries(others).map(([name, value]) => `  ${name.padEnd(18)} ${value.toFixed(4)}`);
      print([`${task}, ${count} answers`, ...figures].join('\n'));
    }
    if (flags.out !== undefined) await write(flags.out, { ...of, data, split, tasks });
  };
  const { model, adapter, predictions, task: tasks } = flags;
  if (predictions === undefined) {
    await answerData(data, { split, tasks }, flags, evaluate, answers => report(answers, { model, adapter }));
  } else {
    await report(await comparePredictions(data, predictions, { split, tasks, imageRoot: flags.imageRoot }), {
      predictions,
    });
  }
}

/** Compares predictions with a dataset, and prints what does not fit together. */
async function comparePredictions(
  data: string,
  predictions: string,
  options: Pick<OpenOptions, 'split' | 'tasks' | 'imageRoot'>,
): Promise<Measured['tasks']> {
  const warn = ({ source, message }: DatasetProblem): void => printProblem(`${source}: ${message}`);
  const opening = { ...options, requireImages: false };
  const truth = await openDataset(data, opening);
  const isCocoList = await isResults(predictions);
  const found = isCocoList
    ? openDataset(data, { ...opening, results: predictions })
    : openPredictions(predictions, opening);
  return evaluatePredictions(truth, await found, { onProblem: warn });
}

/** Opens predictions: those of the split, or if there are no splits, all. */
async function openPredictions(path: string, { split, ...options }: OpenOptions): Promise<Dataset> {
  const splits = await datasetSplits(path);
  return openDataset(path, { ...options, ...(split !== undefined && splits.includes(split) && { split }) });
}

/** Whether a file is a list of COCO results. Exports of Label Studio are lists too, whose items have no `image_id`. */
async function isResults(path: string): Promise<boolean> {
  if (!/\.json$/i.test(path)) return false;
  const file = await open(path).catch(error => {
    throw fileError(path, error);
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4096));
    const start = buffer.toString('utf8', 0, bytesRead);
    return /^\s*\[\s*(\]|\{[^{}]*"image_id"\s*:)/.test(start);
  } finally {
    await file.close();
  }
}

interface Measured {
  model?: string;
  adapter?: string;
  predictions?: string;
  data: string;
  split?: Split;
  tasks: Record<string, TaskEvaluation>;
}

async function write(folder: string, measured: Measured): Promise<void> {
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
  await writeWhole(join(folder, 'metrics.json'), encode(`${JSON.stringify(measured, finiteNumbers, 1)}\n`));
  const rows = Object.entries(measured.tasks).flatMap(([task, { metrics, classes }]) => [
    ...Object.entries(metrics).map(([name, value]) => [task, '', name, value]),
    ...classes.flatMap(({ label, truths, found, precisions }) =>
      Object.entries({ truths, found, AP: mean(precisions), AP50: precisions[0], AP75: precisions[5] }).map(
        ([name, value]) => [task, label, name, value],
      ),
    ),
  ]);
  const lines = [['task', 'class', 'metric', 'value'], ...rows].map(csvLine);
  await writeWhole(join(folder, 'metrics.csv'), encode(`${lines.join('\n')}\n`));
  printNote(`Wrote metrics.json and metrics.csv to ${folder}.`);
}

/** Flags of `florence2 eval`. */
export interface EvalFlags extends AnswerDataFlags {
  task?: string[];
  split?: Split;
  benchmark?: BenchmarkName;
  data?: string;
  predictions?: string;
  out?: string;
}
