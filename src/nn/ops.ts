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

/** Rows of a table [V, D] for ids [B, T] int32 -> [B, T, D]. The row of `paddingId` gets no gradient from it. */
export function lookUp(table: tf.Tensor2D, ids: tf.Tensor2D, paddingId: number | null): tf.Tensor3D {
  const [V, D] = table.shape;
  const rows = tf.customGrad((table, save) => {
    (save as tf.GradSaveFunc)([ids]);
    const gradFunc = (dy: tf.Tensor, [ids]: tf.Tensor[]) => {
      const flat = tf.reshape(ids, [-1]) as tf.Tensor1D; // [B · T]
      const learning = paddingId === null ? dy : tf.mul(dy, tf.expandDims(tf.notEqual(ids, paddingId), -1));
      return tf.unsortedSegmentSum(tf.reshape(learning, [-1, D]), flat, V);
    };
    return { value: tf.gather(table as tf.Tensor2D, ids), gradFunc };
  });
  return rows(table) as tf.Tensor as tf.Tensor3D;
}
