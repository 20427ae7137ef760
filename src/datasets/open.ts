import { existsSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import {
  anything,
  callback,
  checkOptions,
  instanceOf,
  listOf,
  type OptionTable,
  oneOf,
  pickOptions,
  text,
} from '../options.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { type CheckExamplesOptions, checkExamples, type DatasetReport, IMAGE_CHECKS } from './check.ts';
import { readCoco } from './coco.ts';
import type { Dataset } from './example.ts';
import { readJsonl } from './jsonl.ts';
import { type DatasetProblem, type ReadOptions, SPLITS, type Split } from './reading.ts';
import { readYolo, readYoloConfig, splitEntry } from './yolo.ts';

/** Options of `openDataset`. */
export interface OpenOptions extends ReadOptions {
  /** Default: the annotations in the folder itself, else the split `train`. */
  split?: Split;
  /** The folder of a COCO file's images. Default: the usual places, see `CocoOptions`. */
  images?: string;
}

const OPEN_OPTIONS: OptionTable<OpenOptions> = {
  ...{ tasks: listOf(text, 'task names'), onProblem: callback, split: oneOf(...SPLITS), images: text },
};

/**
 * Opens the dataset at a path, whose format is recognised by its files: a folder with
 * `{train,valid,test}/annotations.jsonl`, with `{train,valid,test}/_annotations.coco.json` or with a YOLO `data.yaml`;
 * a folder that has one of these files itself; or such a file (.jsonl, .json, .yaml). Node only.
 *
 * @throws Florence2Error that names the missing files or the invalid entry
 */
export async function openDataset(path: string, options: OpenOptions = {}): Promise<Dataset> {
  checkOptions('openDataset', options, OPEN_OPTIONS);
  const { split } = options;
  const { file, tried } = findAnnotations(path, split);
  if (file === undefined) {
    const what = split ? `${split} split of a dataset` : 'dataset';
    throw new Florence2Error(`${path} has no ${what}: looked for ${tried.join(', ')}.`, { code: 'FILE_NOT_FOUND' });
  }
  if (isYaml(file)) return readYolo(file, options);
  return extname(file).toLowerCase() === '.json' ? readCoco(file, options) : readJsonl(file, options);
}

/** Returns the splits of a dataset. A file, or a folder that has annotations itself, is a `train` split. Node only. */
export async function datasetSplits(path: string): Promise<Split[]> {
  const has = async (split: Split): Promise<boolean> => {
    const { file } = findAnnotations(path, split);
    if (file === undefined || !isYaml(file)) return file !== undefined;
    return (splitEntry(await readYoloConfig(file), split) ?? null) !== null;
  };
  const present = await Promise.all(SPLITS.map(has));
  return SPLITS.filter((_, i) => present[i]);
}

/** Options of `checkDataset`. Those of `openDataset` apply if the dataset is a path. */
export interface CheckOptions extends CheckExamplesOptions, Omit<OpenOptions, 'onProblem'> {}

const CHECK_OPTIONS: OptionTable<CheckOptions> = {
  ...{ tasks: OPEN_OPTIONS.tasks, split: OPEN_OPTIONS.split, images: text },
  imageCheck: oneOf(...IMAGE_CHECKS),
  ...{ tokenizer: instanceOf(Tokenizer, 'a Tokenizer'), limits: anything, onProgress: callback },
};

/**
 * Checks a whole dataset before training, and reports problems by file and line:
 *
 * - errors, which training refuses: unreadable lines; images that are missing, cannot be decoded or have another size
 *   than the annotations say; unknown tasks; invalid answers; `<loc_1000>`; prompts and answers with more tokens than the
 *   model has positions;
 * - warnings, which training accepts: boxes that are empty, inverted or outside the image; duplicate targets; phrases
 *   and characters that results omit; entries that the readers skip.
 *
 * Node only.
 *
 * @param dataset a path for `openDataset`, or a dataset
 * @throws Florence2Error if the path has no dataset
 */
export async function checkDataset(dataset: string | Dataset, options: CheckOptions = {}): Promise<DatasetReport> {
  checkOptions('checkDataset', options, CHECK_OPTIONS);
  if (typeof dataset !== 'string') return checkExamples(dataset, options);
  const problems: DatasetProblem[] = [];
  const opened = await openDataset(dataset, {
    ...pickOptions(options, OPEN_OPTIONS),
    onProblem: problem => problems.push(problem),
  });
  const report = await checkExamples(opened, options);
  return { ...report, problems: [...problems, ...report.problems] };
}

const isYaml = (file: string): boolean => /\.ya?ml$/i.test(file);

/** Returns the annotation file of a split, and all names that were tried. */
function findAnnotations(path: string, split: Split | undefined): { file?: string; tried: string[] } {
  if (!existsSync(path)) throw new Florence2Error(`The dataset ${path} does not exist.`, { code: 'FILE_NOT_FOUND' });
  const itself = split === undefined || split === 'train';
  if (!statSync(path).isDirectory()) {
    const readable = isYaml(path) || (itself && /\.jsonl?$/i.test(path));
    return { file: readable ? path : undefined, tried: ['a .jsonl, .json or .yaml file'] };
  }
  const folders = [...(itself ? [''] : []), ...SPLIT_FOLDERS[split ?? 'train']];
  const names = folders.flatMap(folder => ANNOTATIONS.map(name => join(folder, name)));
  const tried = [...names, 'data.yaml'];
  const found = tried.find(name => existsSync(join(path, name)));
  return { file: found && join(path, found), tried };
}

const SPLIT_FOLDERS: Record<Split, readonly string[]> = {
  train: ['train'],
  valid: ['valid', 'val', 'validation'],
  test: ['test'],
};

const ANNOTATIONS = ['annotations.jsonl', '_annotations.coco.json'];
