import * as tf from '@tensorflow/tfjs';
import { type Activation, download } from '../activations/activation.ts';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import { type AttentionLabels, type AttentionMap, attention, attentionPoints } from './attention_maps.ts';
import { headOf } from './attention_parts.ts';

export interface RolloutOptions {
  /** What the residual connection carries past an attention, the rest goes through it. Default 0.5, as in the paper. */
  residual?: number;
  /** Which image of a batch. Default 0. */
  row?: number;
  labels?: AttentionLabels;
}

/**
 * Attention rollout: how much each position at the end goes back to each at the beginning, if an attention layer mixes
 * positions as its weights say, and its residual connection keeps them. The product over the layers of r · I + (1 − r) · A,
 * A the mean of the heads. Abnar & Zuidema 2020, https://arxiv.org/abs/2005.00928, sec. 3.
 *
 * It knows nothing of values, norms and MLPs: a coarse picture, and no attribution.
 *
 * @param layers [heads, S, S] or [S, S] each, the first layer first
 * @returns [S, S], rows sum to 1
 */
export async function rollout(layers: readonly Activation[], residual = 0.5): Promise<Activation> {
  if (layers.length === 0) throw new UsageError('A rollout needs at least one layer.');
  const S = layers[0].shape.at(-1)!;
  const product = tf.tidy(() =>
    mixings(layers, residual).reduce((before, layer) => tf.matMul(layer(), before), tf.eye(S)),
  );
  return download(product);
}

/**
 * The rollout of the encoder, [S, S]: how much each position of its output goes back to each position of image and
 * prompt. Needs `attentionPoints('encoder')` of all layers.
 */
export async function encoderRollout(cache: ActivationCache, options: RolloutOptions = {}): Promise<AttentionMap> {
  const layers = await encoderLayers(cache, options);
  const { queries, keys, grid } = layers[0];
  const product = await rollout(layers, checkedResidual(options));
  return { kind: 'rollout', layer: 'all', ...product, queries, keys, ...(grid && { grid }) };
}

/**
 * What each token of the answer goes back to in image and prompt, [T, S]: its cross-attention (the mean of heads and
 * layers), passed on through the rollout of the encoder. Rows sum to 1. Needs `attentionPoints('encoder')` of all layers
 * and `attentionPoints('cross')`. What a token knows by way of the tokens before it is not in this.
 *
 * @param options.layers layers of the decoder whose cross-attention counts. Default: all that were kept
 */
export async function tokenRelevance(
  cache: ActivationCache,
  { layers, ...options }: RolloutOptions & { layers?: readonly number[] } = {},
): Promise<AttentionMap> {
  const encoder = await encoderLayers(cache, options);
  const reading = layers ?? keptLayers(cache, 'cross');
  if (reading.length === 0) throw new UsageError("No cross-attention was kept: capture attentionPoints('cross').");
  const maps: AttentionMap[] = [];
  for (const layer of reading) maps.push(await attention(cache, 'cross', layer, undefined, options));
  const { queries, keys, grid } = maps[0];
  const mixed = mixings(encoder, checkedResidual(options)).reverse(); // the last layer is the first on the way back
  const product = tf.tidy(() => {
    const read = maps.map(map => tf.tensor2d(headOf(map), [queries.length, keys.length]));
    const mean = tf.div(
      read.reduce((a, b) => tf.add(a, b)),
      read.length,
    ) as tf.Tensor2D;
    return mixed.reduce((weights, layer) => tf.matMul(weights, layer()), mean); // [T, S]
  });
  return {
    kind: 'relevance',
    layer: reading.join(),
    ...(await download(product)),
    queries,
    keys,
    ...(grid && { grid }),
  };
}

/** For each layer what makes r · I + (1 − r) · A of it. */
function mixings(layers: readonly Activation[], residual: number): (() => tf.Tensor2D)[] {
  return layers.map(layer => () => {
    const S = layer.shape.at(-1)!;
    const mean = tf.tensor2d(headOf(layer), [S, S]);
    return tf.add(tf.mul(tf.eye(S), residual), tf.mul(mean, 1 - residual));
  });
}

async function encoderLayers(cache: ActivationCache, { row, labels }: RolloutOptions): Promise<AttentionMap[]> {
  const kept = keptLayers(cache, 'encoder');
  const missing = kept.findIndex((layer, i) => layer !== i);
  if (kept.length === 0 || missing >= 0) {
    throw new UsageError(
      `A rollout needs all layers of the encoder, and layer ${Math.max(missing, 0)} was not kept: capture attentionPoints('encoder').`,
    );
  }
  const maps: AttentionMap[] = [];
  for (const layer of kept) maps.push(await attention(cache, 'encoder', layer, undefined, { row, labels }));
  return maps;
}

/** Layers of which a cache has the weights, in order. */
function keptLayers(cache: ActivationCache, kind: 'encoder' | 'cross'): number[] {
  const [before, after] = attentionPoints(kind, '|')[0].split('|');
  return cache.names
    .filter(name => name.startsWith(before) && name.endsWith(after))
    .map(name => Number(name.slice(before.length, -after.length)))
    .sort((a, b) => a - b);
}

function checkedResidual({ residual = 0.5 }: RolloutOptions): number {
  if (!(residual >= 0 && residual <= 1)) throw new UsageError(`residual must be from 0 to 1, not ${residual}.`);
  return residual;
}
