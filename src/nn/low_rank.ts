import * as tf from '@tensorflow/tfjs';
import { asRows } from './ops.ts';
import type { Layout, LowRank, Parameter } from './params.ts';

/**
 * y + Σ s · (drop(x) A) B over the adapters of a layer.
 *
 * @param y the layer's own output [..., out]
 * @param x the layer's input
 * @param down how the layer multiplies its input with a weight, here A: a matrix product or a convolution to r channels
 */
export function addLowRank<Y extends tf.Tensor, X extends tf.Tensor, A extends tf.Tensor>(
  y: Y,
  x: X,
  adapters: readonly LowRank[],
  down: (x: X, a: A) => tf.Tensor,
): Y {
  return tf.tidy(() =>
    adapters.reduce((sum, adapter) => {
      const hidden = asRows(down(adapter.drop(x), adapter.a.value as A)); // [N, r]
      const up = tf.matMul(tf.mul(hidden, adapter.scale), asRows(adapter.b.value)); // [N, out]
      return tf.add(sum, y.rank === 2 ? up : tf.reshape(up, y.shape));
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
