import * as tf from '@tensorflow/tfjs';
import { Florence2Error, UsageError } from '../errors.ts';
import { type HookFilter, matcher } from '../hooks/filter.ts';
import { nearestNames } from '../names.ts';
import { onBackendOf } from '../nn/on_backend.ts';
import { checkOptions, integer, type OptionTable, oneOf, text, whole } from '../options.ts';
import { openFile, writeFile } from '../platform/node.ts';
import { readSafetensors, safetensorsContent } from '../weights/safetensors.ts';
import type { TensorFile } from '../weights/tensor_file.ts';
import { type Activation, download } from './activation.ts';
import { dumpForm, dumpPoint, toDumpLayout } from './dump_names.ts';
import { NETWORK_PARTS, type NetworkPart, resolveShortName } from './short_names.ts';

/** Selects one activation of a hook point, or a part of it. */
export interface ActivationPart {
  /** Generation step, from 0; negative numbers count from the last step kept. Required if several steps were kept. */
  step?: number;
  /** The part of the network, for short names: `cache.get('pattern', { in: 'decoder', layer: 3 })`. */
  in?: NetworkPart;
  /** Replaces `{layer}` in the name (`language_model.decoder.layers.{layer}.hook_mlp_out`), or selects the layer of a short name. */
  layer?: number | string;
  /** Index of one head, at points that have heads (such as `hook_z` or `hook_pattern`); removes the second axis. */
  head?: number;
}

const PART: OptionTable<ActivationPart> = {
  in: oneOf(...NETWORK_PARTS),
  step: integer,
  layer: { expected: 'a number or a text', allows: layer => whole.allows(layer) || text.allows(layer) },
  head: whole,
};

/** Matches points of shape [rows, heads, …]. In channel attention the heads are groups of channels. */
export const HEADED = /(^|\.)hook_(q|k|v|z|result|pattern|channel_pattern|attn_scores)$/;

/** A kept activation. `tensor` is null if the values are in the cache's file. */
interface Kept {
  readonly shape: number[];
  readonly tensor: tf.Tensor | null;
}

/**
 * Activations by the name of their hook point and, in a generation, by step. The cache owns its tensors; `dispose`
 * frees them.
 *
 * Each generation step runs the decoder on one token, so the activations of a step hold a single position. With beam
 * search their rows are the beams of that step, best first.
 */
export class ActivationCache {
  private readonly points = new Map<string, Map<number | undefined, Kept>>();
  private readonly heads = new Map<string, tf.Tensor>();
  /**
   * What the activations belong to, which files keep: `model` (folder of the checkpoint), `task`, `prompt`,
   * `image_sha256` (of the decoded RGB bytes, row by row) and `token_ids` (JSON, the answer from the start token on).
   * Empty for a dump of PyTorch's. `image_sha256` is missing for image features.
   */
  readonly metadata: Record<string, string> = {};

  /** @param file path of the safetensors file that holds the values, if they are not in memory */
  constructor(readonly file?: string) {}

  /** Names of the points that were kept, in the order of first capture. */
  get names(): string[] {
    return [...this.points.keys()];
  }

  /** Returns the generation steps at which a point was kept; empty for points outside generation. */
  steps(name: string): number[] {
    return [...(this.points.get(name)?.keys() ?? [])].filter(step => step !== undefined);
  }

  /** Returns whether a point was kept; with `step`, whether it was kept at that step. */
  has(name: string, step?: number): boolean {
    const kept = this.points.get(name);
    return kept !== undefined && (step === undefined || kept.has(step));
  }

  /** Returns the shape of an activation. @throws UsageError as `get` does */
  shape(name: string, part: ActivationPart = {}): number[] {
    const { kept, point } = this.find(name, part);
    if (part.head === undefined) return [...kept.shape];
    checkHead(point, kept.shape, part.head);
    return kept.shape.filter((_, axis) => axis !== 1);
  }

  /**
   * Returns an activation. The cache owns the tensor: do not dispose it, and clone it if it must outlive the cache.
   *
   * @throws UsageError if the name, step or head was not kept, several steps were kept and `step` is missing, or the
   *   values are in a file
   */
  get(name: string, part: ActivationPart = {}): tf.Tensor {
    const { kept, point, step } = this.find(name, part);
    if (!kept.tensor) {
      throw new UsageError(
        `The values of ${point} are in ${this.file}: read them with array(), or load the file with ActivationCache.load().`,
      );
    }
    if (part.head === undefined) return kept.tensor;
    const key = `${tensorName(point, step)}/${part.head}`;
    const head =
      this.heads.get(key) ?? onBackendOf(kept.tensor, () => tf.keep(headOf(point, kept.tensor!, part.head!)));
    this.heads.set(key, head);
    return head;
  }

  /**
   * Downloads the values of an activation in row-major order, from memory or from the cache's file.
   *
   * @throws UsageError as `get` does, except for values in a file
   */
  async array(name: string, part: ActivationPart = {}): Promise<Activation> {
    const { kept, point, step } = this.find(name, part);
    if (kept.tensor) {
      const tensor = this.get(name, part);
      return download(onBackendOf(tensor, () => tf.clone(tensor)));
    }
    const values = await this.withFile(file => file.readFloat32(tensorName(point, step)));
    if (part.head === undefined) return { values, shape: [...kept.shape] };
    return download(tf.tidy(() => headOf(point, tf.tensor(values, kept.shape), part.head!)));
  }

  /**
   * Writes a safetensors file: fp32 tensors in the order of capture, named like their points, or `NAME@STEP` in a
   * generation.
   *
   * @param options.layout `pytorch` writes the tensors that PyTorch dumps contain under their names there and in their
   *   layout (maps [B, C, H, W]), for tools that compare the two. Default: this package's names and layout
   * @returns the points that have no name in PyTorch dumps, which keep theirs; empty without `layout`
   * @throws Florence2Error if the file cannot be written
   */
  async save(file: string, options: { layout?: 'pytorch' } = {}): Promise<{ notRenamed: string[] }> {
    checkOptions('save', options, { layout: oneOf('pytorch') });
    const { layout } = options;
    const notRenamed = new Set<string>();
    const tensors = this.entries().map(({ name, step, kept }) => {
      const values = () => this.array(name, { step });
      const dumped = layout === 'pytorch' ? dumpForm(name, kept.shape) : undefined;
      if (!dumped) {
        if (layout) notRenamed.add(name);
        return { name: tensorName(name, step), shape: kept.shape, data: async () => (await values()).values };
      }
      const data = async () => toDumpLayout(await values(), dumped.layout, dumped.shape)!;
      return { name: tensorName(dumped.name, step), shape: dumped.shape, data };
    });
    await writeFile(file, safetensorsContent(file, tensors, { format: 'pt', ...this.metadata }));
    return { notRenamed: [...notRenamed] };
  }

  /**
   * Loads a file written by `save` or by `runWithCache` with `file`, or a dump of PyTorch's activations as in a
   * reference folder. Names and layouts of a dump are converted to those of the hook points (maps to [B, H, W, C]).
   *
   * @param file path of a safetensors file
   * @param names points to read. Default: all
   * @throws Florence2Error if the file cannot be read
   */
  static async load(file: string, names: HookFilter = '**'): Promise<ActivationCache> {
    const source = await readSafetensors(await openFile(file));
    const cache = new ActivationCache();
    const { format, ...metadata } = source.metadata;
    Object.assign(cache.metadata, metadata);
    const wanted = matcher(names);
    try {
      for (const { name, shape } of source.tensors.values()) {
        const [, base, step] = /^(.*?)(?:@(\d+))?$/s.exec(name)!;
        const dumped = dumpPoint(base);
        const point = dumped?.point ?? base;
        if (!wanted(point)) continue;
        const values = await source.readFloat32(name);
        const tensor = tf.tidy(() => {
          const stored = tf.tensor(values, shape, 'float32');
          const isMap = dumped?.layout === 'channels first' && stored.rank === 4;
          return isMap ? tf.transpose(stored, [0, 2, 3, 1]) : stored;
        });
        cache.put(point, step === undefined ? undefined : Number(step), tensor);
      }
      return cache;
    } catch (error) {
      cache.dispose();
      throw error;
    } finally {
      await source.close();
    }
  }

  /** Stores a tensor, which the cache owns from now on, and disposes an earlier one of the same point and step. */
  put(name: string, step: number | undefined, tensor: tf.Tensor): void {
    this.note(name, step, { shape: tensor.shape, tensor: tf.keep(tensor) });
  }

  /** Records that an activation is in the cache's file. */
  putStored(name: string, step: number | undefined, shape: number[]): void {
    this.note(name, step, { shape: [...shape], tensor: null });
  }

  /** Removes one point and frees its tensors. */
  drop(name: string): void {
    for (const [step, { tensor }] of this.points.get(name) ?? []) {
      tensor?.dispose();
      this.dropHeads(name, step);
    }
    this.points.delete(name);
  }

  /** Removes all points and frees all tensors. */
  dispose(): void {
    for (const { kept } of this.entries()) kept.tensor?.dispose();
    for (const head of this.heads.values()) head.dispose();
    this.points.clear();
    this.heads.clear();
  }

  private note(name: string, step: number | undefined, kept: Kept): void {
    const steps = this.points.get(name) ?? new Map<number | undefined, Kept>();
    const before = steps.get(step);
    before?.tensor?.dispose();
    if (before) this.dropHeads(name, step);
    this.points.set(name, steps.set(step, kept));
  }

  private dropHeads(name: string, step: number | undefined): void {
    const prefix = `${tensorName(name, step)}/`;
    for (const [key, head] of this.heads) {
      if (!key.startsWith(prefix)) continue;
      head.dispose();
      this.heads.delete(key);
    }
  }

  private entries(): { name: string; step: number | undefined; kept: Kept }[] {
    return [...this.points].flatMap(([name, steps]) => [...steps].map(([step, kept]) => ({ name, step, kept })));
  }

  private find(name: string, part: ActivationPart): { point: string; step: number | undefined; kept: Kept } {
    checkOptions('The cache', part, PART);
    const { step, layer } = part;
    if (name.includes('{layer}') && layer === undefined) throw new UsageError(`${name} needs \`layer\`.`);
    const point = resolveShortName(name.replaceAll('{layer}', String(layer)), this.names, part);
    const steps = this.points.get(point);
    if (!steps) {
      const nearestFirst = nearestNames(point, this.names, this.names.length);
      throw new UsageError(`${point} was not kept. Kept points: ${list(nearestFirst)}.`);
    }
    const numbered = this.steps(point);
    if (step === undefined && steps.size > 1) {
      throw new UsageError(
        `${point} was kept at ${steps.size} steps: set \`step\` to one of ${list(numbered.map(String))}.`,
      );
    }
    const wanted = step === undefined ? [...steps.keys()][0] : step < 0 ? numbered.at(step) : step;
    const kept = wanted === undefined && step !== undefined ? undefined : steps.get(wanted);
    if (kept) return { point, step: wanted, kept };
    const kinds =
      numbered.length > 0
        ? `it was kept at steps ${list(numbered.map(String))}`
        : 'it is outside generation and has no steps';
    throw new UsageError(`${point} was not kept at step ${step}: ${kinds}.`);
  }

  private async withFile<T>(use: (file: TensorFile) => Promise<T>): Promise<T> {
    if (!this.file) throw new Florence2Error('This cache has no file.');
    const file = await readSafetensors(await openFile(this.file));
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }
}

/** Returns the name of an activation in files. */
export const tensorName = (name: string, step: number | undefined): string =>
  step === undefined ? name : `${name}@${step}`;

function headOf(point: string, tensor: tf.Tensor, head: number): tf.Tensor {
  checkHead(point, tensor.shape, head);
  const one = tensor.shape.map((size, axis) => (axis === 1 ? 1 : size));
  const from = tensor.shape.map((_, axis) => (axis === 1 ? head : 0));
  return tf.tidy(() => tf.squeeze(tf.slice(tensor, from, one), [1]));
}

function checkHead(point: string, shape: number[], head: number): void {
  if (!HEADED.test(point)) throw new UsageError(`${point} has no heads; its shape is [${shape}].`);
  if (!(Number.isInteger(head) && head >= 0 && head < shape[1])) {
    throw new UsageError(`Head ${head} does not exist at ${point}; heads are 0 to ${shape[1] - 1}.`);
  }
}

const list = (names: readonly string[]): string =>
  names.length === 0 ? 'none' : `${names.slice(0, 8).join(', ')}${names.length > 8 ? `, … (${names.length})` : ''}`;
