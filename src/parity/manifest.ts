import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { fileError } from '../files/errors.ts';
import { isRecord, parseJsonObject, show } from '../json.ts';

/** One tensor of a dump, as its manifest describes it. */
export interface DumpedTensor {
  readonly name: string;
  readonly shape: number[];
  /** Root mean square of the values; 0 where the manifest has none. */
  readonly rms: number;
  /** Largest difference that PyTorch itself shows between fp32 and fp64; 0 where the manifest has none. */
  readonly precision: number;
}

/** A checkpoint of the folder. */
export interface DumpedCheckpoint {
  /** Path of its weights: from the folder, or absolute. */
  readonly file: string;
  readonly dtype: string;
}

/** What a dump's inputs were made of. */
export interface DumpedRequest {
  /** Path of the image, from the folder. */
  readonly image: string;
  /** A task token, or a prompt. */
  readonly task: string;
  readonly text?: string;
}

/** A reference folder: checkpoints, and what PyTorch computed from them. */
export interface Manifest {
  readonly folder: string;
  readonly variant: string;
  /** Rows of Microsoft's vocabulary; native checkpoints may have more. Undefined where the manifest does not say. */
  readonly microsoftVocab?: number;
  readonly checkpoints: DumpedCheckpoint[];
  /** Tensors of each safetensors file, in execution order. */
  readonly files: ReadonlyMap<string, DumpedTensor[]>;
  /** Names of the cases that generation.json must have. */
  readonly generations: string[];
  /** Folders of trainings whose course was recorded: train/NAME and lora/NAME. */
  readonly trainings: string[];
  /** Greedy ids of Microsoft's own code without a cache, every position attended. */
  readonly microsoftGreedy?: number[][];
  /** Undefined where the inputs are made of nothing that a user would ask. */
  readonly request?: DumpedRequest;
}

/**
 * The reference folders at a path: the folder itself when it has a manifest.json, else every folder in it.
 *
 * @throws Florence2Error when there is none, or one of several folders has no manifest
 */
export async function findVariants(path: string): Promise<string[]> {
  if (await isFile(join(path, 'manifest.json'))) return [path];
  const names = await readdir(path).catch(error => {
    throw (error as NodeJS.ErrnoException).code === 'ENOTDIR'
      ? new Florence2Error(`${path} is a file: name the folder that holds manifest.json.`)
      : fileError(path, error);
  });
  const entries = names.filter(name => !name.startsWith('.')).map(name => join(path, name));
  const isFolder = await Promise.all(entries.map(async entry => (await stat(entry)).isDirectory()));
  const variants = entries.filter((_, i) => isFolder[i]).sort();
  const found = await Promise.all(variants.map(folder => isFile(join(folder, 'manifest.json'))));
  if (!found.includes(true)) {
    throw new Florence2Error(`${path} has no manifest.json, nor has any folder in it: it is no reference folder.`);
  }
  const without = variants.find((_, i) => !found[i]);
  if (without) throw new Florence2Error(`${without} has no manifest.json, but its neighbours do: is it complete?`);
  return variants;
}

/** @throws Florence2Error naming manifest.json and the field that is wrong */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, 'manifest.json');
  const text = await readFile(path, 'utf8').catch(error => {
    throw fileError(path, error);
  });
  const json = parseJsonObject(text, path);
  const { checkpoints, files, generation, request, ms_vocab: vocab, ms_greedy_nocache: greedy } = json;
  if (!isRecord(checkpoints) || Object.keys(checkpoints).length === 0)
    fail(path, 'checkpoints', checkpoints, 'weights');
  if (!isRecord(files) || Object.keys(files).length === 0) fail(path, 'files', files, 'dumps of tensors');
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

/** Those that the manifest names, and those that files of it lie in. */
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

/** Lists of token ids, one for each sequence. */
export const isIds = (value: unknown): value is number[][] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every(ids => Array.isArray(ids) && ids.length > 0 && ids.every(isSize));

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() ?? false;

function fail(path: string, field: string, value: unknown, expected: string): never {
  throw new Florence2Error(`${path}: ${field} is ${show(value)}, expected ${expected}.`);
}
