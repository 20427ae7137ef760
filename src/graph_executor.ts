import * as tf from '@tensorflow/tfjs';
import { EagerExecutor, type Executor, type Precision } from './executor.ts';
import { type Hooks, noHooks } from './internals/hooks.ts';
import { LayerCache } from './language/cache.ts';
import type { Memory } from './language/decoder.ts';
import { POSITION_OFFSET } from './language/encoder.ts';
import type { Florence2Model } from './model.ts';
import { Graph, type GraphFunction } from './runtime/graph/graph.ts';
import { HalfWeights } from './runtime/graph/half_weights.ts';
import type { TensorSpec } from './runtime/graph/nodes.ts';
import { fewRowsSupported } from './runtime/tensorflow.ts';

/** Rows up to which the kernels for few rows are faster than TensorFlow's. */
const FEW = 16;

/**
 * Runs the network as TensorFlow graphs, recorded from its modules when they are first needed. Where the inside must be
 * seen or differentiated, it is run operation by operation: with hooks, with adapters that are not merged, under a
 * gradient.
 */
export class GraphExecutor implements Executor {
  private readonly eager: EagerExecutor;
  private readonly graphs = new Map<string, Graph>();
  private readonly halfWeights = new HalfWeights();
  /** The parameters' values that the graphs read. */
  private weights: tf.Tensor[] = [];

  constructor(
    private readonly model: Florence2Model,
    private readonly precision: Precision = 'fp32',
  ) {
    this.eager = new EagerExecutor(model);
  }

  visionMap(pixels: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    if (!this.applies('vision_tower', h)) return this.eager.visionMap(pixels, h);
    const [, H, W] = pixels.shape;
    const graph = this.graph(
      `vision ${H}×${W}`,
      pixels => [this.model.visionTower.forward(pixels as tf.Tensor4D, noHooks)],
      B => [floats(B, H, W, 3)],
      'many',
    );
    return graph.run(pixels)[0] as tf.Tensor4D;
  }

  encode(inputsEmbeds: tf.Tensor3D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    if (!this.applies('language_model.encoder', h)) return this.eager.encode(inputsEmbeds, mask, h);
    const { encoder } = this.model.languageModel;
    const [B, length, D] = inputsEmbeds.shape;
    const graph = this.graph(
      `encoder ${B} ${mask !== null}`,
      (embeds, positions, mask) => [
        encoder.encode(embeds as tf.Tensor3D, () => positions as tf.Tensor2D, (mask ?? null) as tf.Tensor4D, noHooks),
      ],
      S => [floats(B, S, D), floats(S, D), ...(mask ? [floats(B, 1, 1, S)] : [])],
      'many',
    );
    return tf.tidy(() => {
      const positions = encoder.embedPositions.rows(POSITION_OFFSET, length);
      return graph.run(inputsEmbeds, positions, ...(mask ? [mask] : []))[0] as tf.Tensor3D;
    });
  }

  newCaches(states: tf.Tensor3D, h: Hooks): LayerCache[] {
    if (!this.applies('language_model.decoder', h)) return this.eager.newCaches(states, h);
    const [B, , D] = states.shape;
    const graph = this.graph(
      `memory ${B}`,
      states => {
        const keys = this.model.languageModel.decoder.memoryKeys(states as tf.Tensor3D, noHooks);
        return keys.flatMap(({ key, value }) => [key, value]);
      },
      S => [floats(B, S, D)],
      'many',
    );
    const parts = graph.run(states).map(tensor => tf.keep(tensor)) as tf.Tensor4D[];
    return pairs(parts).map(([key, value]) => new LayerCache({ key, value }));
  }

  decodeStep(tokens: tf.Tensor2D, memory: Memory, caches: readonly LayerCache[], h: Hooks): tf.Tensor2D {
    if (!this.applies('language_model.decoder', h) || this.model.lmHead.adapters)
      return this.eager.decodeStep(tokens, memory, caches, h);
    const [rows] = tokens.shape;
    const { decoder } = this.model.languageModel;
    const cross = caches.flatMap(({ cross }) => [cross.key, cross.value]); // [B, heads, S, d] each
    const [B, heads, , d] = cross[0].shape;
    const beams = rows / B;
    const kind = fewRowsSupported() && rows <= FEW ? 'few' : 'many';
    const graph = this.graph(
      `step ${beams} ${memory.mask !== null} ${kind}`,
      (tokens, positions, ...rest) => this.step(tokens, positions, rest),
      size => [
        { shape: [size * beams, 1], dtype: 'int32' },
        floats(1, this.model.config.text.dModel),
        ...cross.map(() => floats(size, heads, size + 20, d)),
        ...cross.map(() => floats(size * beams, heads, size + 10, d)),
        ...(memory.mask ? [floats(size, 1, 1, size + 20)] : []),
      ],
      kind,
    );
    return tf.tidy(() => {
      const past = caches.flatMap(({ self }) => {
        return self ? [self.key, self.value] : [1, 2].map(() => tf.zeros([rows, heads, 0, d]));
      });
      const positions = decoder.positions(caches[0].length, 1); // [1, D]
      const inputs = [tokens, positions, ...cross, ...past, ...(memory.mask ? [memory.mask] : [])];
      const [logits, ...present] = graph.run(...inputs);
      pairs(present as tf.Tensor4D[]).forEach(([key, value], i) => {
        caches[i].put({ key: tf.keep(key), value: tf.keep(value) });
      });
      return logits as tf.Tensor2D;
    });
  }

  dispose(): void {
    for (const graph of this.graphs.values()) graph.dispose();
    this.graphs.clear();
    this.halfWeights.dispose();
  }

  /** What `decodeStep` records: `rest` are keys and values of all layers, of the memory and of the past, and the mask. */
  private step(tokens: tf.Tensor, positions: tf.Tensor, rest: readonly tf.Tensor[]): tf.Tensor[] {
    const { languageModel, lmHead } = this.model;
    const { decoder } = languageModel;
    const count = 2 * decoder.layers.length;
    const cross = pairs(rest.slice(0, count) as tf.Tensor4D[]);
    const past = pairs(rest.slice(count, 2 * count) as tf.Tensor4D[]);
    const mask = (rest[2 * count] ?? null) as tf.Tensor4D | null;
    const caches = cross.map(
      ([key, value], i) => new LayerCache({ key, value }, { key: past[i][0], value: past[i][1] }),
    );
    const embeds = languageModel.embed(tokens as tf.Tensor2D); // [rows, 1, D]
    const memory = { states: embeds, mask }; // the caches have what is read of the states
    const hidden = decoder.decode(embeds, () => positions as tf.Tensor2D, memory, caches, noHooks);
    const logits = tf.squeeze(lmHead.forward(hidden, noHooks), [1]); // [rows, V]
    const present = caches.flatMap(({ self }) => [tf.clone(self!.key), tf.clone(self!.value)]);
    for (const cache of caches) cache.dispose();
    return [logits, ...present];
  }

  /** Whether a module and what it consists of can run as a graph now. */
  private applies(module: string, h: Hooks): boolean {
    if (h !== noHooks || tf.engine().state.gradientDepth > 0) return false;
    for (const [name, { adapters }] of this.model.adaptable) if (adapters && name.startsWith(module)) return false;
    return true;
  }

  /**
   * The graph of this name, made if need be; of the parameters as they are now.
   *
   * @param rows whether its matrices have few rows, for which there are kernels, or many, for which precision matters
   */
  private graph(name: string, fn: GraphFunction, example: (size: number) => TensorSpec[], rows: 'few' | 'many'): Graph {
    this.followParameters();
    let graph = this.graphs.get(name);
    if (!graph) {
      const options = {
        halfWeights: rows === 'few' ? this.halfWeights : undefined,
        bf16: rows === 'many' && this.precision === 'bf16',
      };
      graph = Graph.compile(fn, [example(2), example(3)], this.weights, options);
      this.graphs.set(name, graph);
    }
    return graph;
  }

  /** Training, merged adapters and new tokens put other tensors in the parameters' place. */
  private followParameters(): void {
    const weights: tf.Tensor[] = [];
    for (const parameter of this.model.parameters.values()) {
      if (!parameter.optional || parameter.loaded) weights.push(parameter.value);
    }
    const same = weights.length === this.weights.length && weights.every((weight, i) => weight === this.weights[i]);
    if (!same) this.dispose();
    this.weights = weights;
  }
}

const floats = (...shape: number[]): TensorSpec => ({ shape, dtype: 'float32' });

/** Keys and values in turns, put together. */
function pairs(tensors: readonly tf.Tensor4D[]): [key: tf.Tensor4D, value: tf.Tensor4D][] {
  return Array.from({ length: tensors.length / 2 }, (_, i) => [tensors[2 * i], tensors[2 * i + 1]]);
}
