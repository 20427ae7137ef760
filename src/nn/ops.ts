import * as tf from '@tensorflow/tfjs';

/** Exact GELU, x · Φ(x). The tanh approximation is another function: it moves the logits by 3e-3. */
export function gelu<T extends tf.Tensor>(x: T): T {
  return tf.tidy(() => {
    const twiceCdf = tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1);
    return tf.mul(tf.mul(x, 0.5), twiceCdf) as T;
  });
}

/** a · bᵀ over the last two axes. */
export function matMulTransposed<T extends tf.Tensor>(a: T, b: T): T {
  // The wasm kernel reads a transposed operand with a stride; writing the transpose out first is faster there.
  if (tf.getBackend() !== 'wasm') return tf.matMul(a, b, false, true);
  const leading = b.shape.slice(0, -2).map((_, axis) => axis);
  return tf.matMul(a, tf.transpose(b, [...leading, b.rank - 1, b.rank - 2]));
}
