import type { Dataset } from '../../datasets/example.ts';
import { datasetSplits, openDataset } from '../../datasets/open.ts';
import type { DatasetProblem, Split } from '../../datasets/reading.ts';
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
 * a dataset that is named twice once.
 *
 * @throws Florence2Error for a path without a dataset
 */
export async function openData({ data = [], valid: named, task }: TrainConfig): Promise<OpenedData> {
  const tasks = task?.map(resolveTask);
  const problems: DatasetProblem[] = [];
  const open = (path: string, split?: Split, found = problems): Promise<Dataset> =>
    openDataset(path, { tasks, split, onProblem: problem => found.push(problem) });
  const paths = data.map(readWeightedPath);
  const train: WeightedDataset[] = [];
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
  if (valid.length === 0) {
    const source = named ?? paths.map(({ path }) => path).join(', ');
    problems.push({ severity: 'warning', source, message: 'There are no validation data, so no best/ is written.' });
  }
  return { train, valid, problems };
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
