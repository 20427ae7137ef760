import type { Dataset } from '../../datasets/example.ts';
import { datasetSplits, openDataset } from '../../datasets/open.ts';
import type { ProblemHandler, Split } from '../../datasets/reading.ts';
import { UsageError } from '../../errors.ts';
import { resolveTask } from '../../text/tasks.ts';
import type { WeightedDataset } from '../../training/mixture.ts';
import type { TrainConfig } from './config.ts';

/** The path of a dataset and the share of it that an epoch uses. */
export interface WeightedPath {
  path: string;
  weight: number;
}

/** Reads `path[:weight]`. @throws UsageError for a weight of 0 */
export function readWeightedPath(text: string): WeightedPath {
  const [, path = text, weight = '1'] = /^(.+):(\d+(?:\.\d+)?|\.\d+)$/.exec(text) ?? [];
  if (Number(weight) === 0) throw new UsageError(`--data ${text}: the weight must be larger than 0.`);
  return { path, weight: Number(weight) };
}

/**
 * Opens the training and the validation data. Without `valid`, the validation data are the valid splits of all
 * datasets, a dataset that is named twice once.
 *
 * @param onProblem receives the problems of entries, which are left out. Default: the first error is thrown
 */
export async function openData(
  { data = [], valid, task }: TrainConfig,
  onProblem?: ProblemHandler,
): Promise<{ train: WeightedDataset[]; valid: Dataset[] }> {
  const tasks = task?.map(resolveTask);
  const paths = data.map(readWeightedPath);
  const train: WeightedDataset[] = [];
  for (const { path, weight } of paths) train.push({ dataset: await openDataset(path, { tasks, onProblem }), weight });
  const held: Dataset[] = [];
  for (const path of valid === undefined ? new Set(paths.map(({ path }) => path)) : [valid]) {
    const split = (await datasetSplits(path)).find(name => name === 'valid');
    if (split) held.push(await openDataset(path, { tasks, split, onProblem }));
    else if (valid !== undefined) held.push(await openDataset(path, { tasks, onProblem }));
  }
  return { train, valid: held };
}

/**
 * Returns every split of every dataset. A path that is named twice is listed once.
 *
 * @throws Florence2Error for a path without a dataset
 */
export async function allSplits({ data = [], valid }: TrainConfig): Promise<{ path: string; split: Split }[]> {
  const paths = [
    ...new Set([...data.map(text => readWeightedPath(text).path), ...(valid === undefined ? [] : [valid])]),
  ];
  const splits = await Promise.all(
    paths.map(async path => {
      const found = await datasetSplits(path);
      if (found.length === 0) await openDataset(path); // throws an error that lists the files it looked for
      return found;
    }),
  );
  return paths.flatMap((path, i) => splits[i].map(split => ({ path, split })));
}
