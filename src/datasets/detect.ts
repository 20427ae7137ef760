import { existsSync, readdirSync, statSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { readLines } from '../files/lines.ts';
import type { DatasetFormat } from './annotation.ts';
import { filesInFolder, imagesInFolder } from './find_images.ts';
import type { Split } from './reading.ts';

/** The files of a dataset. */
export interface FoundDataset {
  format: DatasetFormat;
  /** The file of annotations, or the folder for formats with a file for each image. */
  path: string;
}

/** The folders of a split, the usual name first. */
export const SPLIT_FOLDERS: Record<Split, readonly string[]> = {
  train: ['train'],
  valid: ['valid', 'val', 'validation'],
  test: ['test'],
};

/** Files of annotations with names that tools give them. */
const NAMES = [
  ...['annotations.jsonl', '_annotations.jsonl', '_annotations.coco.json', 'metadata.jsonl', 'metadata.csv'],
  ...['labels.json', 'annotations.xml', 'annotations.json', 'result.json'],
];

const YAML_NAMES = ['data.yaml', 'data.yml', 'dataset.yaml', 'dataset.yml'];

/** What an error lists of a folder. */
const MOST_LISTED = 8;

/**
 * Returns the files of a split of a dataset, recognised by names and contents. A file, or a folder that has annotations
 * itself, is a `train` split.
 *
 * @throws Florence2Error that lists what was looked for and what is there
 */
export async function findDataset(path: string, split: Split | undefined): Promise<FoundDataset> {
  if (!existsSync(path)) throw new Florence2Error(`The dataset ${path} does not exist.`, { code: 'FILE_NOT_FOUND' });
  const itself = split === undefined || split === 'train';
  if (!statSync(path).isDirectory()) {
    const found = await fileFormat(path);
    if (found && (itself || /^(yolo|voc)/.test(found.format))) return found;
    const tried = 'looked for a .jsonl, .json, .yaml, .xml, .csv or .tar file';
    throw new Florence2Error(`${path} has no ${what(split)}: ${tried}.`, { code: 'FILE_NOT_FOUND' });
  }
  const folders = [...(itself ? [''] : []), ...SPLIT_FOLDERS[split ?? 'train']];
  const named = folders.flatMap(folder => NAMES.map(name => join(folder, name)));
  const file = [...named, ...YAML_NAMES].map(name => join(path, name)).find(name => existsSync(name));
  const found =
    (file && (await fileFormat(file))) ||
    (await splitFile(path, split ?? 'train')) ||
    (['Annotations', 'SegmentationClass'].some(name => isFolder(join(path, name))) && {
      format: 'voc' as const,
      path,
    }) ||
    (await firstFound(folders.toReversed().map(folder => join(path, folder))));
  if (found) return found;
  const entries = readdirSync(path);
  const there = entries.slice(0, MOST_LISTED).join(', ') + (entries.length > MOST_LISTED ? ', …' : '');
  const looked = `looked for ${named.join(', ')}, ${YAML_NAMES[0]}, annotations/instances_*.json, Annotations/*.xml, *.tar, and images with .json, .xml or .txt files`;
  const has = entries.length > 0 ? `It has ${there}.` : 'It is empty.';
  throw new Florence2Error(`${path} has no ${what(split)}: ${looked}. ${has}`, { code: 'FILE_NOT_FOUND' });
}

const what = (split: Split | undefined): string => (split ? `${split} split of a dataset` : 'dataset');

const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();

async function firstFound(folders: readonly string[]): Promise<FoundDataset | undefined> {
  for (const folder of folders) {
    const found = isFolder(folder) ? await looseFiles(folder) : undefined;
    if (found) return found;
  }
  return undefined;
}

/** Returns the format of a file, by its extension and its first bytes; undefined for other files. */
async function fileFormat(path: string): Promise<FoundDataset | undefined> {
  const extension = extname(path).toLowerCase();
  if (/^\.ya?ml$/.test(extension)) return { format: 'yolo', path };
  if (extension === '.tar') return { format: 'webdataset', path };
  if (extension === '.csv') return { format: 'hf', path };
  if (extension === '.jsonl') return { format: (await isMetadata(path)) ? 'hf' : 'jsonl', path };
  if (extension !== '.json' && extension !== '.xml') return undefined;
  const head = await startOf(path);
  if (extension === '.xml') {
    return /<annotations[\s>]/.test(head) ? { format: 'cvat', path } : { format: 'voc', path: dirname(path) };
  }
  if (/^\s*\[/.test(head)) return { format: 'label-studio', path };
  if (/"(shapes|imagePath)"\s*:/.test(head)) return { format: 'labelme', path };
  const isCoco = /"(images|annotations|categories)"\s*:/.test(head);
  return { format: !isCoco && /"labels"\s*:/.test(head) ? 'fiftyone' : 'coco', path };
}

/** Whether the lines of a file are those of Hugging Face's metadata.jsonl. */
async function isMetadata(path: string): Promise<boolean> {
  if (/^metadata\./i.test(basename(path))) return true;
  for await (const { text } of readLines(path)) return /"file_name"\s*:/.test(text);
  return false;
}

async function startOf(path: string): Promise<string> {
  const handle = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(1 << 16), 0, 1 << 16, 0);
    return buffer.toString('utf8', 0, bytesRead).replace(/^\uFEFF/, '');
  } finally {
    await handle.close();
  }
}

/** Returns a file that names the split: `annotations/instances_val2017.json`, `train.jsonl`, `test.xml`. */
async function splitFile(path: string, split: Split): Promise<FoundDataset | undefined> {
  const pattern = new RegExp(`(^|[_-])(${SPLIT_FOLDERS[split].join('|')})\\d*\\.(jsonl|json|xml|tar)$`, 'i');
  for (const folder of [join(path, 'annotations'), path]) {
    const names = (await readdir(folder).catch(() => [])).filter(name => pattern.test(name));
    const name = names.find(one => /^instances/.test(one)) ?? names.sort()[0];
    const found = name === undefined ? undefined : await fileFormat(join(folder, name));
    if (found) return found;
  }
  return undefined;
}

/** Returns shards, the only file of annotations of a folder, or files of annotations beside images. */
async function looseFiles(folder: string): Promise<FoundDataset | undefined> {
  const names = (await readdir(folder)).sort();
  if (names.some(name => /\.tar$/i.test(name))) return { format: 'webdataset', path: folder };
  const [file, ...others] = names.filter(name => /\.(jsonl|json|xml|csv)$/i.test(name));
  const found = file === undefined ? undefined : await fileFormat(join(folder, file));
  if (found?.format === 'labelme') return { format: 'labelme', path: folder };
  if (found?.format === 'voc') return found;
  if (found && others.length > 0) {
    const list = [file, ...others].slice(0, MOST_LISTED).join(', ');
    throw new Florence2Error(`${folder} has several files of annotations: ${list}. Name one of them.`);
  }
  if (found) return found;
  const [image] = await imagesInFolder(folder);
  if (image === undefined) return undefined;
  const inside = await filesInFolder(folder, /\.(json|xml|txt)$/);
  const has = (extension: string): boolean => inside.some(name => name.endsWith(extension));
  if (has('.xml')) return { format: 'voc', path: folder };
  if (has('.json')) return { format: 'labelme', path: folder };
  return has('.txt') ? { format: 'txt', path: folder } : undefined;
}
