import * as tf from '@tensorflow/tfjs';
import { type Hooks, noHooks, noReaders, type Readers, readersOf } from '../hooks/hooks.ts';
import { NotingHooks } from '../hooks/noting_hooks.ts';
import { LayerCache, pairs } from '../language/cache.ts';
import type { Memory } from '../language/decoder.ts';
import { Graph, type GraphFunction } from '../runtime/graph/graph.ts';
import { HalfWeights } from '../runtime/graph/half_weights.ts';
import type { TensorSpec } from '../runtime/graph/nodes.ts';
import { record } from '../runtime/graph/record.ts';
import { DependsOnSizeError } from '../runtime/graph/unify.ts';
import { kernelsSupported } from '../runtime/tensorflow.ts';
import { type Executor, imagesOf, type Precision } from './executor.ts';
import type { Florence2Model } from './florence2_model.ts';

/** Up to this many rows the kernels for few rows are faster: with 16, a step of base takes 67 ms instead of 78. */
const FEW = 16;

/** A cache is sealed when it has this many recent tokens, whose keys and values are copied at each step. */
const MOST_RECENT = 64;

/** Most graphs kept. A model usually needs few, but each set of captured hook points needs separate graphs. */
const MOST_GRAPHS = 32;

/** A pass of the network. Its activations are reported to `h`. */
type Pass = (h: Hooks, ...inputs: tf.Tensor[]) => readonly tf.Tensor[];

/** The graph of a pass, which also returns the activations at `points`. */
interface PassGraph {
  readonly graph: Graph;
  readonly points: readonly string[];
}

/** Describes how a pass is recorded. */
interface PassOptions {
  /** Path of the module that it runs. While the module has active adapters, the pass does not run as a graph. */
  readonly module: string;
  /** Identifies its graph among those of the module. */
  readonly name: string;
  /** Returns example inputs. Dimensions that depend on `size` are variable in the graph. */
  readonly example: (size: number) => TensorSpec[];
  /** Whether its matrices have few rows (special kernels) or many (the precision applies). */
  readonly rows: 'few' | 'many';
}

/**
 * Runs the network as TensorFlow graphs, which are recorded from its modules on first use. It runs operation by
 * operation where a graph is not possible: with hooks that may replace activations, with adapters that are not merged,
 * and under a gradient.
 */
export class GraphExecutor implements Executor {
  private readonly graphs = new Map<string, PassGraph | null>();
  private readonly halfWeights = new HalfWeights();
  /** Names of the hook points of each pass, in execution order. */
  private readonly points = new Map<string, readonly string[]>();
  /** The tensors of the parameters. */
  private weights: tf.Tensor[] = [];
  /** Numbers of the sets of tensors that the parameters have had, by the tensors' ids. Part of the graphs' keys. */
  private readonly versions = new Map<string, number>();
  private version = 0;

  constructor(
    private readonly model: Florence2Model,
    private readonly precision: Precision = 'fp32',
  ) {}

  /** Batches are not split with hooks, which receive whole batches, nor under a gradient, where it saves no memory. */
  imagesPerPass(height: number, width: number, h: Hooks): number {
    if (readersOf(h) !== noReaders || underGradient()) return this.model.imagesPerPass(height, width);
    return imagesOf(height, width);
  }

  visionMap(pixels: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    const [, H, W] = pixels.shape;
    const { visionTower } = this.model;
    const outputs = this.run(
      { module: 'vision_tower', name: `${H}×${W}`, example: B => [floats(B, H, W, 3)], rows: 'many' },
      (h, pixels) => [visionTower.forward(pixels as tf.Tensor4D, h.in('vision_tower'))],
      () => [pixels],
      h,
    );
    return outputs ? (outputs[0] as tf.Tensor4D) : this.model.visionMap(pixels, h);
  }

  encode(inputsEmbeds: tf.Tensor3D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    const { encoder } = this.model.languageModel;
    const [B, length, D] = inputsEmbeds.shape;
    const module = 'language_model.encoder';
    const masks = (S: number) => (mask ? [floats(B, 1, 1, S)] : []);
    const outputs = this.run(
      {
        ...{ module, name: `${B} ${mask !== null}`, rows: 'many' },
        example: S => [floats(B, S, D), floats(S, D), ...masks(S)],
      },
      (h, embeds, positions, mask) => {
        const rows = () => positions as tf.Tensor2D;
        return [encoder.encode(embeds as tf.Tensor3D, rows, (mask ?? null) as tf.Tensor4D | null, h.in(module))];
      },
      () => [inputsEmbeds, encoder.positions(length), ...(mask ? [mask] : [])],
      h,
    );
    return outputs ? (outputs[0] as tf.Tensor3D) : this.model.encode(inputsEmbeds, mask, h);
  }

  newCaches(states: tf.Tensor3D, h: Hooks): LayerCache[] {
    const [B, , D] = states.shape;
    const module = 'language_model.decoder';
    const { decoder } = this.model.languageModel;
    const outputs = this.run(
      { module, name: `memory ${B}`, example: S => [floats(B, S, D)], rows: 'many' },
      (h, states) => {
        return decoder.memoryKeys(states as tf.Tensor3D, h.in(module)).flatMap(({ key, value }) => [key, value]);
      },
      () => [states],
      h,
    );
    if (!outputs) return this.model.newCaches(states, h);
    return pairs(outputs).map(({ key, value }) => new LayerCache({ key: tf.keep(key), value: tf.keep(value) }));
  }

  decodeStep(tokens: tf.Tensor2D, memory: Memory, caches: readonly LayerCache[], h: Hooks): tf.Tensor2D {
    if (this.model.lmHead.adapters) return this.model.decodeStep(tokens, memory, caches, h);
    const [rows] = tokens.shape;
    const { decoder } = this.model.languageModel;
    const cross = caches.flatMap(({ cross }) => [cross.key, cross.value]); // [B, heads, S, d] each
    const [B, heads, , d] = cross[0].shape;
    const beams = rows / B;
    const kind = kernelsSupported() && rows <= FEW ? 'few' : 'many';
    const mask = memory.mask ? [memory.mask] : [];
    const outputs = this.run(
      {
        ...{ module: 'language_model.decoder', name: `step ${beams} ${mask.length} ${kind}`, rows: kind },
        example: size => [
          { shape: [size * beams, 1], dtype: 'int32' },
          floats(1, this.model.config.text.dModel),
          ...cross.map(() => floats(size, heads, size + 20, d)),
          ...[40, 10].flatMap(more => cross.map(() => floats(size * beams, heads, size + more, d))),
          ...mask.map(() => floats(size, 1, 1, size + 20)),
        ],
      },
      (h, tokens, positions, ...rest) => this.step(h, tokens as tf.Tensor2D, positions as tf.Tensor2D, rest),
      () => {
        const none = tf.zeros([rows, heads, 0, d]);
        const past = (['sealed', 'recent'] as const).flatMap(part => {
          return caches.flatMap(({ parts }) => [parts[part]?.key ?? none, parts[part]?.value ?? none]);
        });
        return [tokens, decoder.positions(caches[0].length, 1), ...cross, ...past, ...mask];
      },
      h,
    );
    if (!outputs) return this.model.decodeStep(tokens, memory, caches, h);
    const [logits, ...recent] = outputs;
    pairs(recent).forEach(({ key, value }, i) => {
      caches[i].replace({ key: tf.keep(key), value: tf.keep(value) });
      if (key.shape[2] >= MOST_RECENT) caches[i].seal();
    });
    return logits as tf.Tensor2D;
  }

  dispose(): void {
    for (const compiled of this.graphs.values()) compiled?.graph.dispose();
    this.graphs.clear();
    this.versions.clear();
    this.halfWeights.dispose();
  }

  /**
   * The pass of `decodeStep`.
   *
   * @param rest keys and values of all layers, in the order memory, sealed tokens, recent tokens (see `LayerCache`);
   *   then the mask, if any
   */
  private step(h: Hooks, tokens: tf.Tensor2D, positions: tf.Tensor2D, rest: readonly tf.Tensor[]): tf.Tensor[] {
    const { languageModel, lmHead } = this.model;
    const { decoder } = languageModel;
    const count = 2 * decoder.layers.length;
    const [cross, sealed, recent] = [0, 1, 2].map(part => pairs(rest.slice(part * count, (part + 1) * count)));
    const caches = cross.map((cross, i) => new LayerCache(cross, recent[i], sealed[i]));
    const mask = (rest[3 * count] ?? null) as tf.Tensor4D | null;
    const embeds = languageModel.embedAnswer(tokens); // [rows, 1, D]
    const memory = { states: embeds, mask }; // the states are not read: their keys and values are in the caches
    const hidden = decoder.decode(embeds, () => positions, memory, caches, h.in('language_model.decoder'));
    const logits = tf.squeeze(lmHead.forward(hidden, h), [1]); // [rows, V]
    const grown = caches.flatMap(({ parts }) => [tf.clone(parts.recent!.key), tf.clone(parts.recent!.value)]);
    for (const cache of caches) cache.dispose();
    return [logits, ...grown];
  }

  /** Runs a pass as a graph. Returns null if that is not possible now. */
  private run(options: PassOptions, pass: Pass, inputs: () => tf.Tensor[], h: Hooks): tf.Tensor[] | null {
    const readers = readersOf(h);
    if (!readers || underGradient() || this.adapted(options.module)) return null;
    const compiled = this.graphOf(options, pass, readers);
    if (!compiled) return null;
    return tf.tidy(() => {
      const outputs = compiled.graph.run(...inputs());
      const read = outputs.splice(outputs.length - compiled.points.length);
      compiled.points.forEach((name, i) => {
        readers.show(name, read[i]);
      });
      return outputs;
    });
  }

  private adapted(module: string): boolean {
    for (const [name, { adapters }] of this.model.adaptable) if (adapters && name.startsWith(module)) return true;
    return false;
  }

  /** Returns the graph of a pass with the activations that `readers` read, compiled on first use. */
  private graphOf({ module, name, example, rows }: PassOptions, pass: Pass, readers: Readers): PassGraph | null {
    this.followParameters();
    const points = readers === noReaders ? [] : this.pointsOf(`${module} ${name}`, pass, example);
    if (points.some(readers.mayReplace)) return null;
    const wanted = points.filter(readers.want);
    const key = [this.version, module, name, ...wanted].join(' ');
    const known = this.graphs.get(key);
    if (known !== undefined) return known;
    const fn: GraphFunction = (...inputs) => {
      const noted: tf.Tensor[] = [];
      const noting = new NotingHooks(readers.want, (_, activation) => void noted.push(activation));
      return [...pass(wanted.length > 0 ? noting : noHooks, ...inputs), ...noted];
    };
    const options = {
      halfWeights: rows === 'few' ? this.halfWeights : undefined,
      bf16: rows === 'many' && this.precision === 'bf16',
    };
    let compiled: PassGraph | null = null;
    try {
      compiled = { graph: Graph.compile(fn, [example(2), example(3)], this.weights, options), points: wanted };
    } catch (error) {
      // With several beams, hooks of cross-attention receive shapes that a graph of variable size cannot compute.
      if (!(error instanceof DependsOnSizeError) || wanted.length === 0) throw error;
    }
    this.graphs.set(key, compiled);
    if (this.graphs.size > MOST_GRAPHS) this.forgetOldest();
    return compiled;
  }

  /** Returns the names of the hook points of a pass, in execution order. */
  private pointsOf(name: string, pass: Pass, example: (size: number) => TensorSpec[]): readonly string[] {
    let points = this.points.get(name);
    if (!points) {
      const names: string[] = [];
      const noting = new NotingHooks(
        () => true,
        name => void names.push(name),
      );
      record((...inputs) => pass(noting, ...inputs), example(2), this.weights);
      points = names;
      this.points.set(name, points);
    }
    return points;
  }

  private forgetOldest(): void {
    const [oldest, compiled] = this.graphs.entries().next().value!;
    this.graphs.delete(oldest);
    compiled?.graph.dispose();
  }

  /**
   * Follows the tensors of the parameters. Discards the graphs if one was disposed: by training, a merged adapter or new
   * tokens. Adapters of one call only replace tensors for a while.
   */
  private followParameters(): void {
    const weights: tf.Tensor[] = [];
    for (const parameter of this.model.parameters.values()) {
      if (!parameter.optional || parameter.loaded) weights.push(parameter.value);
    }
    const same = weights.length === this.weights.length && weights.every((weight, i) => weight === this.weights[i]);
    if (same) return;
    if (this.weights.some(({ isDisposed }) => isDisposed)) this.dispose();
    this.weights = weights;
    const ids = weights.map(({ id }) => id).join();
    this.version = this.versions.get(ids) ?? this.versions.size;
    this.versions.set(ids, this.version);
  }
}

const underGradient = (): boolean => tf.engine().state.gradientDepth > 0;

const floats = (...shape: number[]): TensorSpec => ({ shape, dtype: 'float32' });
