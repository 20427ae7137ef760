import * as tf from '@tensorflow/tfjs';
import { type Activation, download } from '../activations/activation.ts';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import { anything, checkOptions, listOf, type OptionTable, share, whole } from '../options.ts';
import { type AttentionLabels, type AttentionMap, attention, attentionPoints } from './attention_maps.ts';
import { headOf } from './attention_parts.ts';

/** Options of `encoderRollout` and `tokenRelevance`. */
export interface RolloutOptions {
  /** Weight of the residual connection, 0 to 1; attention has the rest. Default 0.5, as in the paper. */
  residual?: number;
  /** Index of the image in a batch. Default 0. */
  row?: number;
  /** Names for queries and keys. Default: their indices. */
  labels?: AttentionLabels;
}

/** The default weight of the residual connection. */
const HALF = 0.5;

const ROLLOUT: OptionTable<RolloutOptions> = { residual: share, row: whole, labels: anything };

/**
 * Computes attention rollout: how much each output position depends on each input position, if every layer mixes
 * positions only through its attention weights and its residual connection. It is the product over the layers of
 * `r · I + (1 − r) · A`, where A is the mean over the heads. Abnar & Zuidema 2020, https://arxiv.org/abs/2005.00928,
 * sec. 3.
 *
 * Rollout ignores values, norms and MLPs. It is a coarse approximation, not an attribution.
 *
 * @param layers weights of each layer, [heads, S, S] or [S, S], in the order of the layers
 * @param residual r, the weight of the residual connection. Default 0.5
 * @returns [S, S]; each row sums to 1
 * @throws UsageError if no layers are given
 */
export async function rollout(layers: readonly Activation[], residual = HALF): Promise<Activation> {
  if (layers.length === 0) throw new UsageError('A rollout needs at least one layer.');
  const S = layers[0].shape.at(-1)!;
  const product = tf.tidy(() =>
    mixings(layers, residual).reduce((before, layer) => tf.matMul(layer(), before), tf.eye(S)),
  );
  return download(product);
}

/**
 * Returns the rollout over all encoder layers, [S, S]: how much each output position depends on each position of image
 * and prompt.
 *
 * @param cache activations captured at `attentionPoints('encoder')`
 * @throws UsageError if a layer was not kept
 */
export async function encoderRollout(cache: ActivationCache, options: RolloutOptions = {}): Promise<AttentionMap> {
  checkOptions('encoderRollout', options, ROLLOUT);
  const layers = await encoderLayers(cache, options);
  const { queries, keys, grid } = layers[0];
  const product = await rollout(layers, options.residual);
  return { kind: 'rollout', layer: 'all', ...product, queries, keys, ...(grid && { grid }) };
}

/**
 * Returns how much each token of the answer depends on each position of image and prompt, [T, S]: its cross-attention,
 * averaged over heads and layers, multiplied by the rollout of the encoder. Each row sums to 1. Dependence through
 * earlier tokens of the answer is not included.
 *
 * @param cache activations captured at `attentionPoints('encoder')` and `attentionPoints('cross')`
 * @param options.layers decoder layers whose cross-attention is averaged. Default: all that were kept
 * @throws UsageError if an encoder layer or all cross-attention is missing
 */
export async function tokenRelevance(
  cache: ActivationCache,
  options: RolloutOptions & { layers?: readonly number[] } = {},
): Promise<AttentionMap> {
  checkOptions('tokenRelevance', options, { ...ROLLOUT, layers: listOf(whole, 'layers') });
  const { layers, residual, ...reading } = options;
  const encoder = await encoderLayers(cache, reading);
  const read = layers ?? keptLayers(cache, 'cross');
  if (read.length === 0) throw new UsageError("No cross-attention was kept: capture attentionPoints('cross').");
  const maps: AttentionMap[] = [];
  for (const layer of read) maps.push(await attention(cache, 'cross', layer, undefined, reading));
  const { queries, keys, grid } = maps[0];
  const mixed = mixings(encoder, residual ?? HALF).reverse(); // from the last layer to the first
  const product = tf.tidy(() => {
    const heads = maps.map(map => tf.tensor2d(headOf(map), [queries.length, keys.length]));
    const mean = tf.div(
      heads.reduce((a, b) => tf.add(a, b)),
      heads.length,
    ) as tf.Tensor2D;
    return mixed.reduce((weights, layer) => tf.matMul(weights, layer()), mean); // [T, S]
  });
  return {
    kind: 'relevance',
    layer: read.join(),
    ...(await download(product)),
    queries,
    keys,
    ...(grid && { grid }),
  };
}

/** Returns a function per layer that computes r · I + (1 − r) · A. */
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
      `A rollout needs all encoder layers, but layer ${Math.max(missing, 0)} was not kept: capture attentionPoints('encoder').`,
    );
  }
  const maps: AttentionMap[] = [];
  for (const layer of kept) maps.push(await attention(cache, 'encoder', layer, undefined, { row, labels }));
  return maps;
}

/** Returns the layers whose weights a cache holds, in ascending order. */
function keptLayers(cache: ActivationCache, kind: 'encoder' | 'cross'): number[] {
  const [before, after] = attentionPoints(kind, '|')[0].split('|');
  return cache.names
    .filter(name => name.startsWith(before) && name.endsWith(after))
    .map(name => Number(name.slice(before.length, -after.length)))
    .sort((a, b) => a - b);
}
