import { oversample } from '../../datasets/classes.ts';
import type { Dataset } from '../../datasets/example.ts';
import { type Holdout, holdOut } from '../../datasets/holdout.ts';
import { withNegatives } from '../../datasets/negatives.ts';
import { datasetSplits, openDataset } from '../../datasets/open.ts';
import type { DatasetProblem, ProblemHandler, Split } from '../../datasets/reading.ts';
import { UsageError } from '../../errors.ts';
import { resolveTask, type Task } from '../../text/tasks.ts';
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

/** The data of a run. */
export interface OpenedData {
  train: WeightedDataset[];
  valid: Dataset[];
  /** What is wrong with the annotation files, or missing. Entries with errors are left out of the datasets. */
  problems: DatasetProblem[];
}

/**
 * Opens the training and the validation data. Without `valid`, the validation data are the valid splits of all datasets,
 * a dataset that is named twice once, and with `holdout` a part of the datasets that have none.
 *
 * @throws Florence2Error for a path without a dataset; UsageError for a setting that no dataset allows
 */
export async function openData(config: TrainConfig): Promise<OpenedData> {
  const { data = [], valid: named, task, imageRoot, holdout, oversample: threshold, negatives, seed, skipBad } = config;
  if (holdout !== undefined && named !== undefined) {
    throw new UsageError('--holdout takes the validation data from the training data: remove it, or --valid.');
  }
  const tasks = task?.map(resolveTask);
  const problems: DatasetProblem[] = [];
  const open = (path: string, split?: Split, found = problems): Promise<Dataset> =>
    openDataset(path, { tasks, split, imageRoot, onProblem: problem => found.push(problem) });
  const paths = data.map(readWeightedPath);
  let train: WeightedDataset[] = [];
  for (const { path, weight } of paths) train.push({ dataset: await open(path), weight });
  const datasets = train.map(({ dataset }) => dataset);
  problems.push(...(await untaught(datasets, tasks ?? [])));
  const valid: Dataset[] = [];
  if (named !== undefined) {
    const dataset = await open(
      named,
      (await datasetSplits(named)).find(name => name === 'valid'),
    );
    if (dataset.length > 0) valid.push(dataset);
    else problems.push({ severity: 'error', source: dataset.name, message: 'The validation data are empty.' });
  } else {
    for (const path of new Set(paths.map(({ path }) => path))) {
      if (!(await datasetSplits(path)).includes('valid')) continue;
      const found: DatasetProblem[] = [];
      const dataset = await open(path, 'valid', found);
      const source = dataset.name;
      if (dataset.length > 0) valid.push(dataset);
      else problems.push({ severity: 'warning', source, message: 'The validation data are empty and left out.' });
      problems.push(...found.filter(problem => problem.source !== source));
    }
  }
  if (holdout !== undefined) {
    const held = await heldOut(
      train,
      paths.map(({ path }) => path),
      holdout,
      skipBad ? () => {} : undefined, // the run lists them
    );
    train = held.train;
    valid.push(...held.valid);
  }
  if (valid.length === 0) {
    const source = named ?? paths.map(({ path }) => path).join(', ');
    problems.push({ severity: 'warning', source, message: 'There are no validation data, so no best/ is written.' });
  }
  if (threshold !== undefined) train = await changed(train, problems, dataset => oversample(dataset, threshold, seed));
  if (negatives) train = await changed(train, problems, dataset => withNegatives(dataset, negatives, seed));
  return { train, valid, problems };
}

/** Holds out a part of each dataset without a valid split, of one that is named twice once. */
async function heldOut(
  train: readonly WeightedDataset[],
  paths: readonly string[],
  share: number,
  onProblem?: ProblemHandler,
) {
  const parts = new Map<string, Holdout>();
  for (const [i, path] of paths.entries()) {
    if (parts.has(path) || (await datasetSplits(path)).includes('valid')) continue;
    parts.set(path, await holdOut(train[i].dataset, share, onProblem));
  }
  if (parts.size === 0) throw new UsageError('--holdout is for datasets without a valid split; all of these have one.');
  for (const [path, { train, valid }] of parts) {
    if (train.length > 0 && valid.length > 0) continue;
    const side = train.length === 0 ? 'training' : 'validation';
    throw new UsageError(
      `--holdout ${share} leaves no ${side} data of ${path}: choose another share, or give --valid.`,
    );
  }
  return {
    train: train.map(({ dataset, weight }, i) => ({ dataset: parts.get(paths[i])?.train ?? dataset, weight })),
    valid: [...parts.values()].map(({ valid }) => valid),
  };
}

/**
 * Changes each dataset for which that is possible, and adds a warning for the others.
 *
 * @throws the UsageError of the first if it is possible for none
 */
async function changed(
  train: readonly WeightedDataset[],
  problems: DatasetProblem[],
  change: (dataset: Dataset) => Promise<Dataset>,
): Promise<WeightedDataset[]> {
  const refusals: UsageError[] = [];
  const result: WeightedDataset[] = [];
  for (const { dataset, weight } of train) {
    const after = await change(dataset).catch(error => {
      if (!(error instanceof UsageError)) throw error;
      refusals.push(error);
      problems.push({ severity: 'warning', source: dataset.name, message: error.message });
      return dataset;
    });
    result.push({ dataset: after, weight });
  }
  if (refusals.length === train.length) throw refusals[0];
  return result;
}

/** Returns errors if no example teaches one of the tasks, or if all answers are empty. */
async function untaught(datasets: readonly Dataset[], tasks: readonly Task[]): Promise<DatasetProblem[]> {
  const taught = new Set<string>();
  let labelled = false;
  for (const dataset of datasets) {
    for (let i = 0; i < dataset.length; i++) {
      for (const { task, answer } of (await dataset.example(i)).targets) {
        taught.add(task);
        labelled ||=
          typeof answer === 'string' ? answer !== '' : Object.values(answer).some(({ length }) => length > 0);
      }
    }
  }
  const source = datasets.map(({ name }) => name).join(', ');
  const error = (message: string): DatasetProblem => ({ severity: 'error', source, message });
  const missing = tasks.filter(task => !taught.has(task)).map(task => error(`No example teaches ${task}.`));
  return labelled ? missing : [...missing, error('The training data have no labels: all answers are empty.')];
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
