import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import * as assert from 'uvu/assert';
import { difference, download } from '../src/activations/activation.ts';
import { dumpPoint, toDumpLayout } from '../src/activations/dump_names.ts';
import { HookRegistry, type Hooks } from '../src/hooks/hooks.ts';
import { paddingMask } from '../src/language/attention.ts';
import type { Florence2Model } from '../src/model/florence2_model.ts';
import type { DumpedTensor } from '../src/parity/manifest.ts';
import type { Subject } from '../src/parity/subject.ts';
import { tensorTolerance } from '../src/parity/tolerance.ts';
import type { DaViT } from '../src/vision/davit.ts';
import { openSafetensors } from '../src/weights/safetensors_file.ts';
import type { TensorFile } from '../src/weights/tensor_file.ts';
import { withoutLeaks } from './backend.ts';
import { openSubject } from './internals/subject.ts';
import { reference } from './reference.ts';

/** PyTorch's tensors for one checkpoint and one batch of images, next to the model with the same weights. */
export class Dump {
  private constructor(
    readonly name: string,
    readonly model: Florence2Model,
    private readonly files: TensorFile[],
    private readonly manifest: Subject['manifest'],
  ) {}

  /** Opens those of `files` that the folder of a reference checkpoint contains. */
  static async open({ model, manifest }: Subject, name: string, files: string[]): Promise<Dump> {
    const present = files.filter(file => manifest.files.has(file));
    const opened = await Promise.all(present.map(file => openSafetensors(join(manifest.folder, file))));
    return new Dump(name, model, opened, manifest);
  }

  /** Whether the dump contains a tensor. */
  has(name: string): boolean {
    return this.files.some(({ tensors }) => tensors.has(name));
  }

  /**
   * Runs a module on dumped inputs and compares what it returns with a dumped tensor.
   *
   * @param output name of the dumped tensor
   * @param inputs names of dumped tensors; maps of the vision tower are passed to `run` as [B, H, W, C]
   */
  async compare<X extends tf.Tensor[]>(output: string, inputs: string[], run: (...inputs: X) => tf.Tensor) {
    await withoutLeaks(async () => {
      const tensors: tf.Tensor[] = [];
      for (const name of inputs) tensors.push(await this.read(name));
      const got = await download(tf.tidy(() => run(...(tensors as X))));
      tf.dispose(tensors);
      const { shape, tolerance } = this.expected(output);
      const values = toDumpLayout(got, dumpPoint(output)?.layout ?? 'same', shape);
      assert.ok(values, `${output} has shape [${got.shape}], PyTorch's has [${shape}]`);
      const want = await this.file(output).readFloat32(output);
      const { maxAbs } = difference(values, want);
      if (maxAbs <= tolerance) return;
      const at = values.findIndex((value, i) => !(Math.abs(value - want[i]) < maxAbs));
      assert.unreachable(
        `${output} differs by ${maxAbs} at [${position(at, shape)}]: ${values[at]}, PyTorch has ${want[at]}; the tolerance is ${tolerance}`,
      );
    });
  }

  /** Reads a dumped tensor in the layout of this package: maps as [B, H, W, C]. */
  private async read(name: string): Promise<tf.Tensor> {
    const file = this.file(name);
    const { shape, dtype } = file.tensors.get(name)!;
    if (dtype !== 'F32') return tf.tensor(await file.readInt32(name), shape, 'int32');
    const values = await file.readFloat32(name);
    const isMap = name === 'pixel_values' || dumpPoint(name)?.layout === 'channels first';
    if (isMap) return tf.tidy(() => tf.transpose(tf.tensor(values, shape), [0, 2, 3, 1])); // [B, H, W, C]
    const stage = /^vision\.stage\d+/.exec(name);
    if (!stage) return tf.tensor(values, shape);
    const embed = `${stage}.conv_embed`;
    const [B, C, H, W] = this.file(embed).tensors.get(embed)!.shape;
    return tf.tensor(values, [B, H, W, C]); // [B, H·W, C] in the dump
  }

  private file(name: string): TensorFile {
    const file = this.files.find(({ tensors }) => tensors.has(name));
    if (!file) throw new Error(`The dump ${this.name} has no tensor ${name}.`);
    return file;
  }

  /** Returns the entry of a tensor in the manifest, and its tolerance. */
  private expected(name: string): DumpedTensor & { tolerance: number } {
    const { path } = this.file(name);
    for (const [file, tensors] of this.manifest.files) {
      const found = path === join(this.manifest.folder, file) && tensors.find(tensor => tensor.name === name);
      if (found) return { ...found, tolerance: tensorTolerance(found)! };
    }
    throw new Error(`The manifest of ${this.name} has no tensor ${name} of ${path}.`);
  }
}

/** Returns the indices along each axis of an element of a flat array. */
const position = (index: number, shape: number[]): number[] =>
  shape.map((size, axis) => Math.floor(index / tf.util.sizeFromShape(shape.slice(axis + 1))) % size);

const subjects: Subject[] = [];
for (const variant of readdirSync(reference('model'))) {
  if (!existsSync(reference(`model/${variant}`) + '/manifest.json')) continue;
  subjects.push(await openSubject(variant));
}

/** The vision tower and the projector: one dump for each reference checkpoint and size of image. */
export const visionDumps: Dump[] = [];
/** The language model: one dump for each reference checkpoint. */
export const languageDumps: Dump[] = [];
for (const subject of subjects) {
  const { files, variant } = subject.manifest;
  const main = await Dump.open(subject, variant, [
    'inputs.safetensors',
    'vision.safetensors',
    'text.safetensors',
    'cache.safetensors',
  ]);
  languageDumps.push(main);
  visionDumps.push(main);
  if (!files.has('nonsquare.safetensors')) continue;
  visionDumps.push(await Dump.open(subject, `${variant}, not square`, ['nonsquare.safetensors']));
}

/** Runs a module with one hook and returns the activation at the hook's point. */
export function activationAt(point: string, run: (h: Hooks) => unknown): tf.Tensor {
  const hooks = new HookRegistry();
  const seen: tf.Tensor[] = [];
  hooks.add(point, activation => void seen.push(tf.keep(tf.clone(activation))));
  run(hooks.root());
  const found = tf.clone(seen[0]);
  tf.dispose(seen);
  return found;
}

/** Returns the mask of the encoder's positions, [B, 1, 1, S], from that of the prompt's tokens [B, T]. */
export function memoryMask({ shape: [B, S] }: tf.Tensor3D, textMask: tf.Tensor2D): tf.Tensor4D {
  const imageMask = tf.ones([B, S - textMask.shape[1]], 'int32') as tf.Tensor2D;
  return paddingMask(tf.concat2d([imageMask, textMask], 1));
}

/** One half of a block of the vision tower: the module and the names of its dumped tensors. */
export interface DumpedBlock {
  readonly block: DaViT['blocks'][number][number]['spatialBlock'];
  /** Name of the block's input. */
  readonly input: string;
  /** Prefix of its other tensors: `${at}.conv1`, `.attn`, `.conv2`, `.ffn` and `.out`. */
  readonly at: string;
}

/** All spatial or all channel blocks of a vision tower. */
export function dumpedBlocks({ visionTower }: Florence2Model, kind: 'spatial' | 'channel'): DumpedBlock[] {
  return visionTower.blocks.flatMap((blocks, stage) =>
    blocks.map((block, i) => {
      const [at, before] = [i, i - 1].map(i => `vision.stage${stage}.block${i}`);
      const first = i === 0 ? `vision.stage${stage}.conv_embed` : `${before}.channel.out`;
      return kind === 'spatial'
        ? { block: block.spatialBlock, input: first, at: `${at}.spatial` }
        : { block: block.channelBlock, input: `${at}.spatial.out`, at: `${at}.channel` };
    }),
  );
}
