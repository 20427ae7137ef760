import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { fileError } from '../files/errors.ts';
import { readTextFile } from '../files/whole_file.ts';
import { isRecord, parseJsonObject } from '../json.ts';
import { show } from '../show.ts';

/** A tensor of a dump, as described in the manifest. */
export interface DumpedTensor {
  readonly name: string;
  readonly shape: number[];
  /** Root mean square of the values; 0 if the manifest has none. */
  readonly rms: number;
  /** Largest difference between PyTorch's fp32 and fp64 values; 0 if the manifest has none. */
  readonly precision: number;
}

/** A checkpoint of a reference folder. */
export interface DumpedCheckpoint {
  /** Path of its weights, relative to the folder or absolute. */
  readonly file: string;
  readonly dtype: string;
}

/** The image and the task from which the inputs of a dump were computed. */
export interface DumpedRequest {
  /** Path of the image, relative to the folder. */
  readonly image: string;
  /** A task token, or a prompt. */
  readonly task: string;
  readonly text?: string;
}

/** A reference folder: checkpoints, and what PyTorch computed with them. */
export interface Manifest {
  readonly folder: string;
  readonly variant: string;
  /** Rows of Microsoft's vocabulary, if recorded. Native checkpoints may have more rows. */
  readonly microsoftVocab?: number;
  readonly checkpoints: DumpedCheckpoint[];
  /** Tensors of each safetensors file, in execution order. */
  readonly files: ReadonlyMap<string, DumpedTensor[]>;
  /** Names of the cases that generation.json must contain. */
  readonly generations: string[];
  /** Folders of recorded trainings: train/NAME and lora/NAME. */
  readonly trainings: string[];
  /** Greedy ids of Microsoft's code, without a cache and with padding attended. */
  readonly microsoftGreedy?: number[][];
  /** Undefined if the inputs were not computed from an image and a task. */
  readonly request?: DumpedRequest;
}

/**
 * Returns the reference folders at a path: the folder itself if it has a manifest.json, else all folders in it.
 *
 * @throws Florence2Error if no folder has a manifest.json, or only some have one
 */
export async function findVariants(path: string): Promise<string[]> {
  if (await isFile(join(path, 'manifest.json'))) return [path];
  const names = await readdir(path).catch(error => {
    throw (error as NodeJS.ErrnoException).code === 'ENOTDIR'
      ? new Florence2Error(`${path} is a file: give the folder that contains manifest.json.`)
      : fileError(path, error);
  });
  const entries = names.filter(name => !name.startsWith('.')).map(name => join(path, name));
  const isFolder = await Promise.all(entries.map(async entry => (await stat(entry)).isDirectory()));
  const variants = entries.filter((_, i) => isFolder[i]).sort();
  const found = await Promise.all(variants.map(folder => isFile(join(folder, 'manifest.json'))));
  if (!found.includes(true)) {
    throw new Florence2Error(`${path} is not a reference folder: neither it nor a folder in it has a manifest.json.`);
  }
  const without = variants.find((_, i) => !found[i]);
  if (without)
    throw new Florence2Error(
      `${without} has no manifest.json, but other folders next to it have one: it may be incomplete.`,
    );
  return variants;
}

/** Reads the manifest of a reference folder. @throws Florence2Error naming the file and the field that is wrong */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, 'manifest.json');
  const text = await readTextFile(path);
  const json = parseJsonObject(text, path);
  const { checkpoints, files, generation, request, ms_vocab: vocab, ms_greedy_nocache: greedy } = json;
  if (!isRecord(checkpoints) || Object.keys(checkpoints).length === 0)
    fail(path, 'checkpoints', checkpoints, 'an object of checkpoints');
  if (!isRecord(files) || Object.keys(files).length === 0) fail(path, 'files', files, 'an object of files');
  if (vocab !== undefined && !isSize(vocab)) fail(path, 'ms_vocab', vocab, 'a number of rows');
  if (greedy !== undefined && !isIds(greedy)) fail(path, 'ms_greedy_nocache', greedy, 'lists of token ids');
  if (request !== undefined && !isRequest(request)) fail(path, 'request', request, 'an image and a task');
  return {
    folder,
    variant: typeof json.variant === 'string' ? json.variant : basename(folder),
    ...(vocab !== undefined && { microsoftVocab: vocab }),
    checkpoints: Object.entries(checkpoints).map(([file, entry]) => {
      const dtype = isRecord(entry) ? entry.dtype : undefined;
      if (typeof dtype !== 'string') fail(path, `checkpoints["${file}"].dtype`, dtype, 'the type of its weights');
      return { file, dtype };
    }),
    files: new Map(
      Object.entries(files).map(([file, list]) => {
        if (!Array.isArray(list)) fail(path, `files["${file}"]`, list, 'a list of tensors');
        return [file, list.map((entry, i) => readTensor(path, `files["${file}"][${i}]`, entry))];
      }),
    ),
    generations: isRecord(generation) ? Object.keys(generation) : [],
    trainings: trainingFolders(json, Object.keys(files)),
    ...(greedy !== undefined && { microsoftGreedy: greedy }),
    ...(request !== undefined && { request }),
  };
}

/** Returns the trainings that the manifest names, and those that its files belong to. */
function trainingFolders({ training, lora }: Record<string, unknown>, files: string[]): string[] {
  const names = (field: unknown): string[] => (isRecord(field) ? Object.keys(field) : []);
  const named = [...names(training).map(name => `train/${name}`), ...names(lora).map(name => `lora/${name}`)];
  return [...new Set([...named, ...files.flatMap(file => /^(train|lora)\/[^/]+(?=\/)/.exec(file)?.[0] ?? [])])];
}

function readTensor(path: string, at: string, entry: unknown): DumpedTensor {
  if (!isRecord(entry) || typeof entry.name !== 'string') fail(path, at, entry, 'a tensor with a name');
  const { name, shape, rms = 0, fp32_vs_fp64_max_abs: precision = 0 } = entry;
  if (!Array.isArray(shape) || !shape.every(isSize)) fail(path, `${at}.shape`, shape, 'sizes');
  if (!isMagnitude(rms)) fail(path, `${at}.rms`, rms, 'a number');
  if (!isMagnitude(precision)) fail(path, `${at}.fp32_vs_fp64_max_abs`, precision, 'a number');
  return { name, shape, rms, precision };
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isMagnitude = (value: unknown): value is number => Number.isFinite(value) && (value as number) >= 0;

function isRequest(value: unknown): value is DumpedRequest {
  if (!isRecord(value)) return false;
  const { image, task, text } = value;
  return typeof image === 'string' && typeof task === 'string' && (text === undefined || typeof text === 'string');
}

/** True for lists of token ids, one per sequence. */
export const isIds = (value: unknown): value is number[][] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every(ids => Array.isArray(ids) && ids.length > 0 && ids.every(isSize));

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() ?? false;

function fail(path: string, field: string, value: unknown, expected: string): never {
  throw new Florence2Error(`${path}: ${field} is ${show(value)}, expected ${expected}.`);
}
