import { copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type CheckpointLayout, storedTensor } from '../src/checkpoint/stored_tensors.ts';
import { loadTokenizer } from '../src/checkpoint/tokenizer_files.ts';
import { exitOnError } from '../src/cli/exit.ts';
import { parseConfig } from '../src/config/model.ts';
import { UsageError } from '../src/errors.ts';
import { Florence2Model } from '../src/model/florence2_model.ts';
import { openFolder } from '../src/platform/node.ts';
import { LOGITS_BIAS_NAME } from '../src/weights/names.ts';
import type { TensorToWrite } from '../src/weights/safetensors.ts';
import { writeSafetensors } from '../src/weights/safetensors_file.ts';
import { elementCount } from '../src/weights/tensor_file.ts';
import { wholeNumber } from './arguments.ts';
import { configJson, generationJson, preprocessorJson, type ShapeName, shapes } from './checkpoint_shapes.ts';
import { RandomWeights } from './random_weights.ts';
import { tinyTokenizer } from './tiny_tokenizer.ts';

const usage = `Writes a Florence-2 checkpoint with random weights, in any size and layout, without a download.

  npx tsx tools/random_checkpoint.ts OUT [options]

  --shape tiny|base|large     default tiny
  --seed N                    default 0
  --dtype F32|F16             default F16
  --layout microsoft|native   default microsoft
  --shards N                  number of weight files, default 1
  --tokenizer DIR             tokenizer files for base and large, default test/reference/tokenizer`;

export interface RandomCheckpointOptions {
  shape: ShapeName;
  seed: number;
  dtype: 'F32' | 'F16';
  layout: CheckpointLayout;
  shards: number;
  tokenizer: string;
}

export const defaults: RandomCheckpointOptions = {
  shape: 'tiny',
  seed: 0,
  dtype: 'F16',
  layout: 'microsoft',
  shards: 1,
  tokenizer: fileURLToPath(new URL('../test/reference/tokenizer', import.meta.url)),
};

/** Writes config, tokenizer and weights to a folder. Holds one tensor in memory at a time. */
export async function writeRandomCheckpoint(folder: string, options: Partial<RandomCheckpointOptions>): Promise<void> {
  const { shape: shapeName, seed, dtype, layout, shards, tokenizer } = { ...defaults, ...options };
  const shape = shapes[shapeName];
  await mkdir(folder, { recursive: true });
  const tokens = shapeName === 'tiny' ? await writeTinyTokenizer(folder) : await copyTokenizer(tokenizer, folder);
  const config = configJson(shape, layout, tokens, dtype === 'F16' ? 'float16' : 'float32');
  await writeJson(folder, 'config.json', config);
  await writeJson(folder, 'generation_config.json', generationJson);
  await writeJson(folder, 'preprocessor_config.json', preprocessorJson(shape));
  const weights = new RandomWeights({ seed, decoderLayers: shape.layers, endBoost: shape.endBoost });
  const { parameters } = new Florence2Model(parseConfig(config));
  await writeWeights(folder, tensorsToWrite(parameters, layout, dtype, weights), shards);
}

/**
 * Returns the tensors of a checkpoint whose output head and decoder share one table of embeddings.
 *
 * @param weights returns the values for a canonical name and shape
 */
export function tensorsToWrite(
  parameters: Florence2Model['parameters'],
  layout: CheckpointLayout,
  dtype: 'F32' | 'F16',
  weights: { tensor(name: string, shape: readonly number[]): Float32Array },
): TensorToWrite[] {
  return [...parameters.values()]
    .filter(({ name, tiedTo }) => !tiedTo && (name !== LOGITS_BIAS_NAME || layout === 'microsoft'))
    .map(({ name, shape }) => storedTensor(name, shape, layout, dtype, () => weights.tensor(name, shape)));
}

/** Writes one file, or shards of about equal size and their index. */
async function writeWeights(folder: string, tensors: TensorToWrite[], shards: number): Promise<void> {
  if (shards === 1) return writeSafetensors(join(folder, 'model.safetensors'), tensors);
  const bytes = ({ shape, dtype }: TensorToWrite) => elementCount(shape) * (dtype === 'F16' ? 2 : 4);
  const total = tensors.reduce((sum, tensor) => sum + bytes(tensor), 0);
  const parts = Array.from({ length: shards }, (): TensorToWrite[] => []);
  let before = 0;
  for (const tensor of tensors) {
    parts[Math.min(shards - 1, Math.floor((before * shards) / total))].push(tensor);
    before += bytes(tensor);
  }
  const number = (n: number) => String(n).padStart(5, '0');
  const weightMap: Record<string, string> = {};
  for (const [i, part] of parts.entries()) {
    const name = `model-${number(i + 1)}-of-${number(shards)}.safetensors`;
    await writeSafetensors(join(folder, name), part);
    for (const tensor of part) weightMap[tensor.name] = name;
  }
  await writeJson(folder, 'model.safetensors.index.json', { metadata: { total_size: total }, weight_map: weightMap });
}

async function writeTinyTokenizer(folder: string): Promise<number> {
  const { json, config, size } = tinyTokenizer(320);
  await writeJson(folder, 'tokenizer.json', json, 0);
  await writeJson(folder, 'tokenizer_config.json', config);
  return size;
}

async function copyTokenizer(from: string, folder: string): Promise<number> {
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'vocab.json', 'merges.txt']) {
    const there = await stat(join(from, name)).catch(() => undefined);
    if (there) await copyFile(join(from, name), join(folder, name));
  }
  const tokenizer = await loadTokenizer(openFolder(folder));
  return tokenizer.tokenToId('<and>')! + 1; // the last one
}

export const writeJson = (folder: string, name: string, value: object, indent = 2): Promise<void> =>
  writeFile(join(folder, name), `${JSON.stringify(value, null, indent)}\n`);

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      shape: text,
      seed: text,
      dtype: text,
      layout: text,
      shards: text,
      tokenizer: text,
      help: { type: 'boolean' },
    },
  });
  if (values.help || positionals.length !== 1) return console.log(usage);
  const one = <T extends string>(name: string, value: string, allowed: readonly T[]): T => {
    if (allowed.includes(value as T)) return value as T;
    throw new UsageError(`--${name} must be ${allowed.join(' or ')}, not ${value}.`);
  };
  await writeRandomCheckpoint(positionals[0], {
    shape: one('shape', values.shape ?? defaults.shape, Object.keys(shapes) as ShapeName[]),
    seed: wholeNumber('seed', values.seed ?? '0', 0),
    dtype: one('dtype', values.dtype ?? defaults.dtype, ['F32', 'F16'] as const),
    layout: one('layout', values.layout ?? defaults.layout, ['microsoft', 'native'] as const),
    shards: wholeNumber('shards', values.shards ?? '1', 1),
    tokenizer: values.tokenizer ?? defaults.tokenizer,
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await exitOnError(main);
}
