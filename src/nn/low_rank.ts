import * as tf from '@tensorflow/tfjs';
import { asRows, lowRank } from './ops.ts';
import type { Layout, LowRank, Parameter } from './params.ts';

/** y + Σ s · (drop(x) A) B over the adapters of a layer of rows: y [N, out], x [N, in] -> [N, out] */
export function addLowRank(y: tf.Tensor2D, x: tf.Tensor2D, adapters: readonly LowRank[]): tf.Tensor2D {
  return tf.tidy(() =>
    adapters.reduce((sum, adapter) => {
      const [a, b] = [adapter.a, adapter.b].map(({ value }) => value as tf.Tensor2D); // [in, r], [r, out]
      return lowRank(sum, adapter.drop(x), a, b, adapter.scale);
    }, y),
  );
}

/**
 * The same for a convolution, where A is a convolution to r channels and B one of 1×1.
 *
 * @param y the layer's own output [B, H', W', out]
 * @param x the layer's input [B, H, W, in]
 * @param convolve x with A as with the layer's own filters
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

/** What the adapters of a layer add to its weight, Σ s · A B, in the weight's shape in memory. */
export function lowRankDelta(weight: Parameter, adapters: readonly LowRank[]): tf.Tensor {
  return tf.tidy(() => {
    const products = adapters.map(({ a, b, scale }) => {
      const left = asRows(a.value); // [kh · kw · in, r]
      const right = tf.mul(asRows(b.value), scale); // [r, out]
      // The output layer's weight is the table of embeddings, which lies as [out, in].
      return weight.layout === 'plain' ? tf.matMul(right, left, true, true) : tf.matMul(left, right);
    });
    const sum = products.reduce((sum, product) => tf.add(sum, product)); // addN takes but a few on webgpu
    return tf.reshape(sum, weight.value.shape);
  });
}

/** The shapes of A and B, as files have them, for a layer with this weight, and how they lie in memory. */
export function lowRankShapes({ shape }: Parameter, r: number): { a: number[]; b: number[]; layout: Layout } {
  const [out, inner, ...kernel] = shape;
  return {
    a: [r, inner, ...kernel],
    b: [out, r, ...kernel.map(() => 1)],
    layout: kernel.length > 0 ? 'conv' : 'linear',
  };
}
