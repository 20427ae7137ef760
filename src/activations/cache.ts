import * as tf from '@tensorflow/tfjs';
import { Florence2Error, UsageError } from '../errors.ts';
import { type HookFilter, matcher } from '../hooks/filter.ts';
import { openFile, writeFile } from '../platform/node.ts';
import { readSafetensors, safetensorsContent } from '../weights/safetensors.ts';
import type { TensorFile } from '../weights/tensor_file.ts';
import { type Activation, download } from './activation.ts';
import { dumpForm, dumpPoint, toDumpLayout } from './dump_names.ts';

/** Which of the activations at a point, and which part of it. */
export interface ActivationPart {
  /** The generation step, from 0; negative counts from the last that was kept. Needed where several were kept. */
  step?: number;
  /** Put in place of `{layer}` in the name: `language_model.decoder.layers.{layer}.hook_mlp_out`. */
  layer?: number | string;
  /** One head of a point that has them (`HEADED`), from 0: the second axis, which is then gone. */
  head?: number;
}

/** Points of shape [rows, heads, …]; of channel attention the heads are groups of channels. */
export const HEADED = /(^|\.)hook_(q|k|v|z|pattern|channel_pattern|attn_scores)$/;

/** An activation that was kept: here, or in the file that it was moved to. */
interface Kept {
  readonly shape: number[];
  readonly tensor: tf.Tensor | null;
}

/**
 * Activations by the name of their hook point and, within a generation, by step. The cache owns its tensors: they live
 * until `dispose`.
 *
 * A generation runs the decoder on one token at a time, so that an activation of step t is of one position. With beams
 * its rows are the beams of that step, best first.
 */
export class ActivationCache {
  private readonly points = new Map<string, Map<number | undefined, Kept>>();
  private readonly heads = new Map<string, tf.Tensor>();

  /** @param file a safetensors file that holds all values in place of this cache */
  constructor(readonly file?: string) {}

  /** The points that something was kept of, in the order of the first time. */
  get names(): string[] {
    return [...this.points.keys()];
  }

  /** The steps of a generation at which a point was kept; none for points outside of a generation. */
  steps(name: string): number[] {
    return [...(this.points.get(name)?.keys() ?? [])].filter(step => step !== undefined);
  }

  /** Whether a point was kept; with `step`, whether at that one. */
  has(name: string, step?: number): boolean {
    const kept = this.points.get(name);
    return kept !== undefined && (step === undefined || kept.has(step));
  }

  /** Shape of an activation, see `get`. */
  shape(name: string, part: ActivationPart = {}): number[] {
    const { kept, point } = this.find(name, part);
    if (part.head === undefined) return [...kept.shape];
    checkHead(point, kept.shape, part.head);
    return kept.shape.filter((_, axis) => axis !== 1);
  }

  /**
   * An activation. It belongs to the cache: do not dispose it, and clone what must outlive the cache.
   *
   * @throws UsageError where there is none of this name, step or head, or several steps and none was named
   */
  get(name: string, part: ActivationPart = {}): tf.Tensor {
    const { kept, point, step } = this.find(name, part);
    if (!kept.tensor) {
      throw new UsageError(`${point} is in ${this.file}: read it with array(), or all with ActivationCache.load().`);
    }
    if (part.head === undefined) return kept.tensor;
    const key = `${tensorName(point, step)}/${part.head}`;
    const head = this.heads.get(key) ?? tf.keep(tf.tidy(() => headOf(point, kept.tensor!, part.head!)));
    this.heads.set(key, head);
    return head;
  }

  /** The values of an activation, row by row. `(await cache.get(…).array())` gives nested lists. */
  async array(name: string, part: ActivationPart = {}): Promise<Activation> {
    const { kept, point, step } = this.find(name, part);
    if (kept.tensor) return download(tf.clone(this.get(name, part)));
    const values = await this.withFile(file => file.readFloat32(tensorName(point, step)));
    if (part.head === undefined) return { values, shape: [...kept.shape] };
    return download(tf.tidy(() => headOf(point, tf.tensor(values, kept.shape), part.head!)));
  }

  /**
   * Writes a safetensors file: fp32, tensors named as their points, `NAME@STEP` within a generation, in the order of
   * capture.
   *
   * @param options.layout `pytorch`: what PyTorch dumps have too is named and laid out as there (maps [B, C, H, W]), for
   *   tools that compare the two. Default: as it is here.
   */
  async save(file: string, { layout }: { layout?: 'pytorch' } = {}): Promise<void> {
    const tensors = this.entries().map(({ name, step, kept }) => {
      const values = () => this.array(name, { step });
      const dumped = layout === 'pytorch' ? dumpForm(name, kept.shape) : undefined;
      if (!dumped)
        return { name: tensorName(name, step), shape: kept.shape, data: async () => (await values()).values };
      const data = async () => toDumpLayout(await values(), dumped.layout, dumped.shape)!;
      return { name: tensorName(dumped.name, step), shape: dumped.shape, data };
    });
    await writeFile(file, safetensorsContent(file, tensors));
  }

  /**
   * Reads what `save` wrote, or what a run moved to its `file`, or a dump of PyTorch's activations as reference folders
   * have them: names become those of hook points, maps [B, H, W, C].
   *
   * @param names points to read. Default: all
   * @throws Florence2Error when the file cannot be read
   */
  static async load(file: string, names: HookFilter = '**'): Promise<ActivationCache> {
    const source = await readSafetensors(await openFile(file));
    const cache = new ActivationCache();
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

  /** Takes a tensor over. What was kept of the same point and step is disposed. */
  put(name: string, step: number | undefined, tensor: tf.Tensor): void {
    this.note(name, step, { shape: tensor.shape, tensor: tf.keep(tensor) });
  }

  /** Says that an activation is in the file. */
  putStored(name: string, step: number | undefined, shape: number[]): void {
    this.note(name, step, { shape: [...shape], tensor: null });
  }

  /** Frees what was kept of one point. */
  drop(name: string): void {
    for (const [step, { tensor }] of this.points.get(name) ?? []) {
      tensor?.dispose();
      this.dropHeads(name, step);
    }
    this.points.delete(name);
  }

  /** Frees everything. */
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

  private find(name: string, { step, layer }: ActivationPart): { point: string; step: number | undefined; kept: Kept } {
    if (name.includes('{layer}') && layer === undefined) throw new UsageError(`${name} needs a layer.`);
    const point = name.replaceAll('{layer}', String(layer));
    const steps = this.points.get(point);
    if (!steps) throw new UsageError(`Nothing was kept of ${point}: there are ${list(this.names)}.`);
    const numbered = this.steps(point);
    if (step === undefined && steps.size > 1) {
      throw new UsageError(`${point} was kept at ${steps.size} steps: name one of ${list(numbered.map(String))}.`);
    }
    const wanted = step === undefined ? [...steps.keys()][0] : step < 0 ? numbered.at(step) : step;
    const kept = wanted === undefined && step !== undefined ? undefined : steps.get(wanted);
    if (kept) return { point, step: wanted, kept };
    const kinds = numbered.length > 0 ? `only of ${list(numbered.map(String))}` : 'it is outside of a generation';
    throw new UsageError(`Nothing was kept of ${point} at step ${step}: ${kinds}.`);
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

/** How files name an activation. */
export const tensorName = (name: string, step: number | undefined): string =>
  step === undefined ? name : `${name}@${step}`;

function headOf(point: string, tensor: tf.Tensor, head: number): tf.Tensor {
  checkHead(point, tensor.shape, head);
  const one = tensor.shape.map((size, axis) => (axis === 1 ? 1 : size));
  const from = tensor.shape.map((_, axis) => (axis === 1 ? head : 0));
  return tf.squeeze(tf.slice(tensor, from, one), [1]);
}

function checkHead(point: string, shape: number[], head: number): void {
  if (!HEADED.test(point)) throw new UsageError(`${point} has no heads: its shape is [${shape}].`);
  if (!(Number.isInteger(head) && head >= 0 && head < shape[1])) {
    throw new UsageError(`${point} has heads 0 to ${shape[1] - 1}, not ${head}.`);
  }
}

const list = (names: readonly string[]): string =>
  names.length === 0 ? 'none' : `${names.slice(0, 8).join(', ')}${names.length > 8 ? `, … (${names.length})` : ''}`;
