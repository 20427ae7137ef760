import * as tf from '@tensorflow/tfjs';

/** Exact GELU, x · Φ(x). The tanh approximation is another function: it moves the logits by 3e-3. */
export function gelu<T extends tf.Tensor>(x: T): T {
  return withGradient(
    save => {
      const twiceCdf = tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1);
      save([x, twiceCdf]);
      return tf.mul(tf.mul(x, 0.5), twiceCdf) as T;
    },
    (dy, [x, twiceCdf]) => {
      const density = tf.exp(tf.mul(tf.square(x), -0.5)); // times 1/√(2π)
      const slope = tf.add(tf.mul(twiceCdf, 0.5), tf.mul(tf.mul(x, (2 * Math.PI) ** -0.5), density));
      return [tf.mul(dy, slope)];
    },
    x,
  );
}

/**
 * Layer norm over the last axis.
 *
 * @param x [..., C]
 * @param weight [C]
 * @param bias [C]
 */
export function layerNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor1D, bias: tf.Tensor1D, epsilon: number): T {
  return withGradient(
    save => {
      const centred = tf.sub(x, tf.mean(x, -1, true)); // [..., C]
      const variance = tf.mean(tf.square(centred), -1, true); // [..., 1]
      const scale = tf.rsqrt(tf.add(variance, epsilon)); // [..., 1]
      const normal = tf.mul(centred, scale); // [..., C]
      save([normal, scale, weight]);
      return tf.add(tf.mul(normal, weight), bias) as T;
    },
    (dy, [normal, scale, weight]) => {
      const leading = dy.shape.slice(0, -1).map((_, axis) => axis);
      const weighted = tf.mul(dy, weight);
      const along = tf.mul(normal, tf.mean(tf.mul(weighted, normal), -1, true)); // moves that only scale x
      const dx = tf.mul(tf.sub(tf.sub(weighted, tf.mean(weighted, -1, true)), along), scale);
      return [dx, tf.sum(tf.mul(dy, normal), leading), tf.sum(dy, leading)];
    },
    x,
    weight,
    bias,
  );
}

/**
 * A function with a gradient of its own, which takes fewer steps and keeps less than that of its parts.
 *
 * @param forward computes y of `inputs`, and saves what the way back needs
 * @param backward dy and what was saved -> the gradients of `inputs`
 */
export function withGradient<T extends tf.Tensor>(
  forward: (save: tf.GradSaveFunc) => T,
  backward: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[],
  ...inputs: tf.Tensor[]
): T {
  const run = tf.customGrad((...args) => {
    const save = args.at(-1) as unknown as tf.GradSaveFunc;
    return { value: forward(save), gradFunc: backward };
  });
  return run(...inputs) as tf.Tensor as T;
}

/** a · bᵀ over the last two axes. */
export function matMulTransposed<T extends tf.Tensor>(a: T, b: T): T {
  // The wasm kernel reads a transposed operand with a stride; writing the transpose out first is faster there.
  if (tf.getBackend() !== 'wasm') return tf.matMul(a, b, false, true);
  const leading = b.shape.slice(0, -2).map((_, axis) => axis);
  return tf.matMul(a, tf.transpose(b, [...leading, b.rank - 1, b.rank - 2]));
}

/** Rows of a table [V, D] for ids [B, T] int32 -> [B, T, D]. The row of `paddingId` gets no gradient from it. */
export function lookUp(table: tf.Tensor2D, ids: tf.Tensor2D, paddingId: number | null): tf.Tensor3D {
  const [V, D] = table.shape;
  return withGradient(
    save => {
      save([ids]);
      return tf.gather(table, ids) as tf.Tensor as tf.Tensor3D;
    },
    (dy, [ids]) => {
      const flat = tf.reshape(ids, [-1]) as tf.Tensor1D; // [B · T]
      const learning = paddingId === null ? dy : tf.mul(dy, tf.expandDims(tf.notEqual(ids, paddingId), -1));
      return [sumByRow(tf.reshape(learning, [-1, D]) as tf.Tensor2D, flat, V)];
    },
    table,
  );
}

/** Sums the rows of values [N, D] that have the same id [N] -> [V, D] */
function sumByRow(values: tf.Tensor2D, ids: tf.Tensor1D, V: number): tf.Tensor2D {
  if (tf.getBackend() !== 'cpu') return tf.unsortedSegmentSum(values, ids, V) as tf.Tensor2D;
  // The cpu kernel goes through all values once for each row of the table.
  return tf.matMul(tf.cast(tf.oneHot(ids, V), 'float32') as tf.Tensor2D, values, true);
}
