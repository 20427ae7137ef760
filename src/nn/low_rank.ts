import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import { asRows, lowRank } from './ops.ts';
import type { Layout, LowRank, Parameter } from './params.ts';

/** Adds the output of a linear layer's adapters, y + Σ s · (drop(x) A) B: y [N, out], x [N, in] -> [N, out] */
export function addLowRank(y: tf.Tensor2D, x: tf.Tensor2D, adapters: readonly LowRank[]): tf.Tensor2D {
  return tf.tidy(() =>
    adapters.reduce((sum, adapter) => {
      const [a, b] = [adapter.a, adapter.b].map(({ value }) => value as tf.Tensor2D); // [in, r], [r, out]
      return lowRank(sum, adapter.drop(x), a, b, adapter.scale);
    }, y),
  );
}

/**
 * Adds the output of a convolution's adapters: A is a convolution to r channels, B a 1×1 convolution.
 *
 * @param y the layer's output without adapters [B, H', W', out]
 * @param x the layer's input [B, H, W, in]
 * @param convolve convolves x with A, with the layer's stride and padding
 */
export function addLowRankMaps(
  y: tf.Tensor4D,
  x: tf.Tensor4D,
  adapters: readonly LowRank[],
  convolve: (x: tf.Tensor4D, a: tf.Tensor4D) => tf.Tensor4D,
): tf.Tensor4D {
  return tf.tidy(() =>
    adapters.reduce((sum, adapter) => {
      const hidden = asRows(convolve(adapter.drop(x), adapter.a.value as tf.Tensor4D)); // [N, r]
      const up = tf.matMul(tf.mul(hidden, adapter.scale), asRows(adapter.b.value)); // [N, out]
      return tf.add(sum, tf.reshape(up, y.shape));
    }, y),
  );
}

/**
 * Adds the output of a depthwise convolution's adapters, as PEFT does: A is a full convolution to r channels, and B weighs
 * r / C of them for each channel. No depthwise convolution computes the sum.
 *
 * @param y the layer's output without adapters [B, H, W, C]
 * @param x the layer's input [B, H, W, C]
 */
export function addLowRankChannels(y: tf.Tensor4D, x: tf.Tensor4D, adapters: readonly LowRank[]): tf.Tensor4D {
  const [B, H, W, C] = y.shape;
  return tf.tidy(() =>
    adapters.reduce((sum, adapter) => {
      const hidden = tf.conv2d(adapter.drop(x), adapter.a.value as tf.Tensor4D, 1, 'same'); // [B, H, W, r]
      const groups = tf.reshape(hidden, [B, H, W, C, -1]);
      const b = tf.transpose(tf.reshape(adapter.b.value, [-1, C])); // [C, r / C]
      return tf.add(sum, tf.mul(tf.sum(tf.mul(groups, b), 4), adapter.scale));
    }, y),
  );
}

/** @throws UsageError for a depthwise convolution: its sum with an adapter is a full convolution */
export function requireMergeable({ name, layout }: Parameter): void {
  if (layout !== 'depthwise') return;
  throw new UsageError(`The adapter of ${name} cannot be merged: no depthwise convolution computes the sum.`);
}

/** Returns Σ s · A B, what merging the adapters adds to a layer's weight, in the weight's shape in memory. */
export function lowRankDelta(weight: Parameter, adapters: readonly LowRank[]): tf.Tensor {
  return tf.tidy(() => {
    const products = adapters.map(({ a, b, scale }) => {
      const left = asRows(a.value); // [kh · kw · in, r]
      const right = tf.mul(asRows(b.value), scale); // [r, out]
      // The head's weight is the embedding table, stored as [out, in].
      return weight.layout === 'plain' ? tf.matMul(right, left, true, true) : tf.matMul(left, right);
    });
    const sum = products.reduce((sum, product) => tf.add(sum, product)); // webgpu limits the number of inputs of addN
    return tf.reshape(sum, weight.value.shape);
  });
}

/** Returns the shapes of A and B in files, for a layer with this weight, and their layout in memory. */
export function lowRankShapes(weight: Parameter, r: number): { a: number[]; b: number[]; layout: Layout } {
  const [out, inner, ...kernel] = weight.shape;
  if (weight.layout === 'depthwise') return { a: [r, out, ...kernel], b: [out, r / out, 1, 1], layout: 'conv' };
  return {
    a: [r, inner, ...kernel],
    b: [out, r, ...kernel.map(() => 1)],
    layout: kernel.length > 0 ? 'conv' : 'linear',
  };
}
