import { existsSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { readCoco } from './coco.ts';
import type { Dataset } from './example.ts';
import { type ReadOptions, readJsonl } from './jsonl.ts';
import { SPLITS, type Split, splitFolders } from './reading.ts';
import { readYolo, readYoloConfig, splitEntry } from './yolo.ts';

export interface OpenOptions extends ReadOptions {
  /** Default: what lies in the folder itself, else `train`. */
  split?: Split;
  /** The folder of a COCO file's images, where it is none of those where they usually are. */
  images?: string;
}

/**
 * Opens a dataset by what lies at a path: a folder with `{train,valid,test}/annotations.jsonl`, with
 * `{train,valid,test}/_annotations.coco.json` or with a YOLO `data.yaml`; a folder that holds one of these files itself;
 * or such a file (.jsonl, .json, .yaml).
 *
 * @throws Florence2Error that says what was looked for when there is none, or what is wrong with the dataset
 */
export async function openDataset(path: string, options: OpenOptions = {}): Promise<Dataset> {
  const { split } = options;
  const { file, tried } = findFile(path, split);
  if (file === undefined) {
    const what = split ? `${split} split of a dataset` : 'dataset';
    throw new Florence2Error(`${path} holds no ${what}: looked for ${tried.join(', ')}.`);
  }
  if (isYaml(file)) return readYolo(file, options);
  return extname(file).toLowerCase() === '.json' ? readCoco(file, options) : readJsonl(file, options);
}

/** The splits that a dataset has. A file, or a folder that holds annotations itself, is a `train` split. */
export async function datasetSplits(path: string): Promise<Split[]> {
  const has = async (split: Split): Promise<boolean> => {
    const { file } = findFile(path, split);
    if (file === undefined || !isYaml(file)) return file !== undefined;
    return (splitEntry(await readYoloConfig(file), split) ?? null) !== null;
  };
  const there = await Promise.all(SPLITS.map(has));
  return SPLITS.filter((_, i) => there[i]);
}

const isYaml = (file: string): boolean => /\.ya?ml$/i.test(file);

/** The annotations of a split, and all that was looked for. */
function findFile(path: string, split: Split | undefined): { file?: string; tried: string[] } {
  if (!existsSync(path)) throw new Florence2Error(`The dataset ${path} does not exist.`);
  const itself = split === undefined || split === 'train';
  if (!statSync(path).isDirectory()) {
    const readable = isYaml(path) || (itself && /\.jsonl?$/i.test(path));
    return { file: readable ? path : undefined, tried: ['a .jsonl, .json or .yaml file'] };
  }
  const folders = [...(itself ? [''] : []), ...splitFolders(split ?? 'train')];
  const names = folders.flatMap(folder => ANNOTATIONS.map(name => join(folder, name)));
  const tried = [...names, 'data.yaml'];
  const found = tried.find(name => existsSync(join(path, name)));
  return { file: found && join(path, found), tried };
}

const ANNOTATIONS = ['annotations.jsonl', '_annotations.coco.json'];
