import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CheckpointLayout } from '../../src/checkpoint/stored_tensors.ts';
import { parseConfig } from '../../src/config/model.ts';
import type { Dataset, Target, TrainingExample } from '../../src/datasets/example.ts';
import { Florence2 } from '../../src/florence2.ts';
import type { RawImage } from '../../src/image/types.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import type { TrainerOptions } from '../../src/training/options.ts';
import { Trainer, type TrainingSummary } from '../../src/training/trainer.ts';
import { writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { configJson, generationJson, preprocessorJson, type Shape } from '../../tools/checkpoint_shapes.ts';
import { tensorsToWrite, writeJson } from '../../tools/random_checkpoint.ts';
import { RandomWeights } from '../../tools/random_weights.ts';
import { tinyTokenizer } from '../../tools/tiny_tokenizer.ts';
import { testBackend } from '../backend.ts';
import { temporaryFolder } from '../weights/temporary.ts';

/** A tiny Florence-2 that trains in milliseconds: 32×32 pixels, feature maps of 2×2, one layer of each kind. */
const shape: Shape = {
  ...{ dimEmbed: [8, 8, 16, 16], heads: [1, 1, 2, 2], depths: [1, 1, 1, 1], strides: [4, 2, 2, 1] },
  ...{
    window: 3,
    dModel: 16,
    layers: 1,
    textHeads: 2,
    ffn: 32,
    maxPositions: 64,
    imageSize: 32,
    dropout: 0.1,
    endBoost: 0,
  },
};

const parent = temporaryFolder();
let folders = 0;

/** Returns the path of a new folder, which is removed when the process ends. It is not created. */
export const newFolder = (): string => join(parent, String(folders++));

/** Writes its checkpoint and returns the folder, which is removed when the process ends. */
export async function learnerCheckpoint(layout: CheckpointLayout = 'microsoft'): Promise<string> {
  const folder = newFolder();
  mkdirSync(folder);
  const { json, config: tokenizerConfig, size } = tinyTokenizer(0);
  const config = configJson(shape, layout, size, 'float32');
  await writeJson(folder, 'tokenizer.json', json);
  await writeJson(folder, 'tokenizer_config.json', tokenizerConfig);
  await writeJson(folder, 'config.json', config);
  await writeJson(folder, 'generation_config.json', { ...generationJson, max_new_tokens: 12 });
  await writeJson(folder, 'preprocessor_config.json', preprocessorJson(shape));
  const { parameters } = new Florence2Model(parseConfig(config));
  const weights = new RandomWeights({ seed: 1, decoderLayers: shape.layers, endBoost: 0 });
  await writeSafetensors(join(folder, 'model.safetensors'), tensorsToWrite(parameters, layout, 'F32', weights));
  return folder;
}

export const loadLearner = (folder: string): Promise<Florence2> => Florence2.load(folder, { backend: testBackend });

/** Returns an image with a rectangle on a uniform background. Seeds differ in colours and positions. */
export function picture(seed: number): RawImage {
  const [width, height] = [10 + (seed % 3), 12];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const inside = x > seed % 5 && x < 4 + (seed % 5) && y > 2 && y < 9;
      for (let c = 0; c < 3; c++) {
        data[3 * (y * width + x) + c] = (inside ? 40 * seed + 90 * c : 200 - 30 * c + 17 * seed) % 256;
      }
    }
  }
  return { data, width, height };
}

/** Returns targets with prompts and answers of different lengths. */
export const targetsOf = (seed: number): Target[] => [
  { task: '<OD>', answer: { boxes: [{ label: `a${seed}`, box: [seed % 5, 3, 4 + (seed % 5), 9] }] } },
  { task: '<CAPTION>', answer: 'word'.slice(0, 1 + (seed % 4)) },
  { task: '<OPEN_VOCABULARY_DETECTION>', text: 'it', answer: 'it<loc_1><loc_2><loc_3><loc_4>' },
];

/** Returns a dataset with `targets` targets per example. Seeds differ in images and answers. */
export function dataset(length: number, { targets = 2, seed = 0, name = 'set' } = {}): Dataset {
  return {
    name,
    length,
    example: (index): TrainingExample => ({
      image: picture(seed + index),
      targets: targetsOf(seed + index).slice(0, targets),
      source: `${name}:${index + 1}`,
    }),
  };
}

/** A finished run: its summary, the loss of each step, and the trained model. */
export interface Finished extends TrainingSummary {
  florence: Florence2;
  losses: number[];
  output: string;
}

/** Trains a model, by default without dropout and at a high learning rate. */
export async function trainOn(
  florence: Florence2,
  options: Partial<TrainerOptions> & Pick<TrainerOptions, 'train'>,
  run: { signal?: AbortSignal } = {},
): Promise<Finished> {
  const losses: number[] = [];
  const output = options.output ?? newFolder();
  const onStep: TrainerOptions['onStep'] = record => {
    losses.push(record.loss);
    options.onStep?.(record);
  };
  const trainer = new Trainer(florence, {
    learningRate: 1e-3,
    dropout: false,
    pictures: false,
    ...options,
    output,
    onStep,
  });
  return { ...(await trainer.run(run)), florence, losses, output };
}

/** Loads a checkpoint and trains it, see `trainOn`. */
export async function train(folder: string, ...rest: Tail<typeof trainOn>): Promise<Finished> {
  const florence = await loadLearner(folder);
  try {
    return await trainOn(florence, ...rest);
  } catch (error) {
    florence.dispose();
    throw error;
  }
}

type Tail<F> = F extends (first: never, ...rest: infer R) => unknown ? R : never;

/** Runs a test on a newly loaded checkpoint and disposes the model. */
export async function withLearner<T>(folder: string, body: (florence: Florence2) => Promise<T>): Promise<T> {
  const florence = await loadLearner(folder);
  try {
    return await body(florence);
  } finally {
    florence.dispose();
  }
}

/** A test that does not depend on the kernels. Skipped on webgpu, where training on a software GPU takes minutes. */
export const logic = testBackend === 'webgpu' ? test.skip : test;

/** Tolerance between equal runs: backends other than cpu and wasm do not always sum in the same order. */
export const TOLERANCE = testBackend === 'cpu' || testBackend === 'wasm' ? 0 : 1e-5;

export function sameLosses(got: number[], expected: number[], what = 'losses'): void {
  assert.is(got.length, expected.length, `${what}: number of steps`);
  got.forEach((loss, i) => {
    const by = Math.abs(loss - expected[i]);
    assert.ok(by <= TOLERANCE, `${what}: entry ${i} is ${loss}, expected ${expected[i]}`);
  });
}

/** Returns the values of every parameter by name, including those of active adapters. */
export async function valuesOf({ model, adapters }: Florence2): Promise<Map<string, Float32Array>> {
  const parameters = [...model.parameters.values(), ...adapters.active.flatMap(name => adapters.get(name).parameters)];
  const values = new Map<string, Float32Array>();
  for (const { name, loaded, value } of parameters.filter(({ loaded }) => loaded)) {
    if (loaded) values.set(name, new Float32Array((await (value as tf.Tensor).data()) as Float32Array));
  }
  return values;
}

/**
 * Returns the largest difference between two sets of values, and its parameter. It is infinite if one set lacks a name.
 */
export function apart(
  a: ReadonlyMap<string, Float32Array>,
  b: ReadonlyMap<string, Float32Array>,
): { by: number; name: string } {
  let worst = { by: 0, name: '' };
  for (const name of new Set([...a.keys(), ...b.keys()])) {
    const [left, right] = [a.get(name), b.get(name)];
    const by = left && right ? furthest(left, right) : Number.POSITIVE_INFINITY;
    if (by > worst.by) worst = { by, name };
  }
  return worst;
}

const furthest = (a: Float32Array, b: Float32Array): number =>
  a.reduce((most, x, i) => {
    const distance = Object.is(x, b[i]) ? 0 : Math.abs(x - b[i]);
    return Number.isNaN(distance) ? Number.POSITIVE_INFINITY : Math.max(most, distance);
  }, 0);
