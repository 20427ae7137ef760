import { basename, dirname, resolve } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { loadConfig } from '../checkpoint/load_config.ts';
import { loadParameters } from '../checkpoint/load_parameters.ts';
import type { GenerationConfig } from '../config/generation.ts';
import { Florence2Error } from '../errors.ts';
import type { HookRegistry } from '../hooks/hooks.ts';
import type { Memory } from '../language/decoder.ts';
import { fastestExecutor } from '../model/fastest_executor.ts';
import { Florence2Model } from '../model/florence2_model.ts';
import { openFolder } from '../platform/node.ts';
import { canonicalCheckpoint } from '../weights/canonical.ts';
import { openTensors } from '../weights/checkpoint.ts';
import { requireTensor, type TensorFile } from '../weights/tensor_file.ts';
import type { DumpedCheckpoint, Manifest } from './manifest.ts';

/** A checkpoint under test: the network with its weights, its inputs, and the hooks to run it with. */
export interface Subject {
  readonly manifest: Manifest;
  readonly model: Florence2Model;
  readonly generation: GenerationConfig;
  readonly inputs: TensorFile;
  readonly hooks: HookRegistry;
}

/** A checkpoint under test with its encoded images, which are valid as long as the weights do not change. */
export interface EncodedSubject extends Subject {
  /** Features of the inputs' images, [B, 1 + N, D]. All prompts share them: the vision tower is most of the work. */
  readonly features: tf.Tensor3D;
}

/** Loads one checkpoint of a reference folder. The manifest names the file, so that both weight formats are tested. */
export async function loadCheckpoint(
  folder: string,
  { file }: DumpedCheckpoint,
): Promise<{ model: Florence2Model; generation: GenerationConfig }> {
  const path = resolve(folder, file);
  const checkpoint = openFolder(dirname(path));
  const { config, generation } = await loadConfig(checkpoint);
  const weights = await openTensors(checkpoint, basename(path));
  if (!weights) throw new Florence2Error(`${path} does not exist.`);
  const model = new Florence2Model(config);
  try {
    await loadParameters(model, await canonicalCheckpoint(weights));
    model.executor = await fastestExecutor(model);
    return { model, generation };
  } catch (error) {
    model.dispose();
    throw error;
  } finally {
    await weights.close();
  }
}

/** Reads the images of a file, [B, 3, H, W] -> [B, H, W, 3] */
export async function readPixels(file: TensorFile): Promise<tf.Tensor4D> {
  const { shape } = requireTensor(file.tensors, 'pixel_values', file.path);
  if (shape.length !== 4) throw new Florence2Error(`${file.path}: pixel_values has shape [${shape}], expected 4 axes.`);
  const values = await file.readFloat32('pixel_values');
  return tf.tidy(() => tf.transpose(tf.tensor4d(values, shape as [number, number, number, number]), [0, 2, 3, 1]));
}

/** Reads ids, labels or a mask, [B, T] */
export async function readIds(file: TensorFile, name: string): Promise<tf.Tensor2D> {
  const { shape } = requireTensor(file.tensors, name, file.path);
  if (shape.length !== 2) throw new Florence2Error(`${file.path}: ${name} has shape [${shape}], expected 2 axes.`);
  return tf.tensor2d(await file.readInt32(name), shape as [number, number], 'int32');
}

/** Encodes the images of the inputs -> features [B, 1 + N, D] */
export async function encodeImages({ model, inputs, hooks }: Subject): Promise<tf.Tensor3D> {
  const pixels = await readPixels(inputs);
  try {
    return model.encodeImage(pixels, hooks.root());
  } finally {
    pixels.dispose();
  }
}

/** Encodes the prompts of the inputs. If not `masked`, padding is attended like any token. */
export async function encodePrompts(
  { model, inputs, hooks, features }: EncodedSubject,
  masked: boolean,
): Promise<Memory> {
  const ids = await readIds(inputs, 'text_input_ids');
  const mask = masked ? await readIds(inputs, 'text_attention_mask') : null;
  try {
    return model.encodePrompt(features, ids, mask, hooks.root());
  } finally {
    tf.dispose([ids, mask ?? []]);
  }
}

/** Decodes the answers of the inputs under teacher forcing -> logits [B, T, V]. Disposes `memory`. */
export async function forcedLogits({ model, inputs, hooks }: Subject, memory: Memory): Promise<tf.Tensor3D> {
  const ids = await readIds(inputs, 'decoder_input_ids');
  try {
    return model.logits(ids, memory, hooks.root());
  } finally {
    tf.dispose([ids, memory.states, memory.mask ?? []]);
  }
}

/** Runs images, prompts and answers of the inputs with the current weights and adapters -> logits [B, T, V] */
export async function inputLogits(subject: Subject): Promise<tf.Tensor3D> {
  const features = await encodeImages(subject);
  const memory = await encodePrompts({ ...subject, features }, true).finally(() => features.dispose());
  return forcedLogits(subject, memory);
}
