import * as tf from '@tensorflow/tfjs';
import * as kernels from './kernels.ts';
import { withGradient } from './tape.ts';

/** x [..., C] -> [N, C]. Of rank 2, x itself: in tfjs a reshape to the same shape is an operation too. */
export function asRows(x: tf.Tensor): tf.Tensor2D {
  return x.rank === 2 ? (x as tf.Tensor2D) : tf.reshape(x, [-1, x.shape.at(-1)!]);
}

/** x W + b: x [N, in], W [in, out], b [out] -> [N, out] */
export function linear(x: tf.Tensor2D, weight: tf.Tensor2D, bias: tf.Tensor1D | null): tf.Tensor2D {
  return withGradient<tf.Tensor2D, 'x' | 'weight' | 'bias'>(
    { x, weight, ...(bias ? { bias } : {}) },
    save => {
      save([x, weight]);
      const product: tf.Tensor2D = tf.matMul(x, weight); // [N, out]
      return bias ? tf.add(product, bias) : product;
    },
    (dy, [x, weight]) => ({
      x: () => matMulTransposed(dy, weight as tf.Tensor2D),
      weight: () => tf.matMul(x as tf.Tensor2D, dy, true),
      bias: () => tf.sum(dy, 0),
    }),
  );
}

/** y + scale · (x A) B: y [N, out], x [N, in], a [in, r], b [r, out] -> [N, out] */
export function lowRank(y: tf.Tensor2D, x: tf.Tensor2D, a: tf.Tensor2D, b: tf.Tensor2D, scale: number): tf.Tensor2D {
  if (kernels.hasKernel('LowRank')) return kernels.lowRank(y, x, a, b, scale);
  return tf.tidy(() => tf.add(y, tf.matMul(tf.mul(tf.matMul(x, a), scale), b)));
}

/** Exact GELU, x · Φ(x). The tanh approximation would change the logits by 3e-3. */
export function gelu<T extends tf.Tensor>(x: T): T {
  if (kernels.hasKernel('Gelu')) return kernels.gelu(x);
  return withGradient(
    { x },
    save => {
      const twiceCdf = steps(x, [y => tf.mul(y, Math.SQRT1_2), tf.erf, y => tf.add(y, 1)]);
      save([x, twiceCdf]);
      return steps(twiceCdf, [y => tf.mul(y, x), y => tf.mul(y, 0.5)]) as T;
    },
    (dy, [x, twiceCdf]) => ({
      x: () => {
        const rise = steps(x, [
          tf.square,
          y => tf.mul(y, -0.5),
          tf.exp,
          y => tf.mul(y, x),
          y => tf.mul(y, (2 * Math.PI) ** -0.5),
        ]); // x times the density
        return steps(twiceCdf, [y => tf.mul(y, 0.5), y => tf.add(y, rise), y => tf.mul(y, dy)]);
      },
    }),
  );
}

/** Applies functions in order. Intermediates are disposed immediately; they are the model's largest tensors. */
function steps(x: tf.Tensor, functions: ((x: tf.Tensor) => tf.Tensor)[]): tf.Tensor {
  return functions.reduce((before, next) => {
    const after = next(before);
    if (before !== x) before.dispose();
    return after;
  }, x);
}

/**
 * Layer norm over the last axis.
 *
 * @param x [..., C]
 * @param weight [C]
 * @param bias [C]
 */
export function layerNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor1D, bias: tf.Tensor1D, epsilon: number): T {
  if (kernels.hasKernel('LayerNorm')) return kernels.layerNorm(x, weight, bias, epsilon);
  const leading = x.shape.slice(0, -1).map((_, axis) => axis);
  return withGradient(
    { x, weight, bias },
    save => {
      const centred = tf.sub(x, tf.mean(x, -1, true)); // [..., C]
      const variance = tf.mean(tf.square(centred), -1, true); // [..., 1]
      const scale = tf.rsqrt(tf.add(variance, epsilon)); // [..., 1]
      const normal = tf.mul(centred, scale); // [..., C]
      save([normal, scale, weight]);
      return tf.add(tf.mul(normal, weight), bias) as T;
    },
    (dy, [normal, scale, weight]) => ({
      x: () => {
        const weighted = tf.mul(dy, weight);
        const along = tf.mul(normal, tf.mean(tf.mul(weighted, normal), -1, true)); // the part that would only scale x
        return tf.mul(tf.sub(tf.sub(weighted, tf.mean(weighted, -1, true)), along), scale);
      },
      weight: () => tf.sum(tf.mul(dy, normal), leading),
      bias: () => tf.sum(dy, leading),
    }),
  );
}

/** Softmax over the last axis. */
export function softmax<T extends tf.Tensor>(x: T): T {
  return kernels.hasKernel('SoftmaxGrad') ? kernels.softmax(x) : tf.softmax(x);
}

/** a · bᵀ over the last two axes. */
export function matMulTransposed<T extends tf.Tensor>(a: T, b: T): T {
  // On wasm, transposing b first is faster: its kernel reads a transposed operand with a stride.
  if (tf.getBackend() !== 'wasm') return tf.matMul(a, b, false, true);
  const leading = b.shape.slice(0, -2).map((_, axis) => axis);
  return tf.matMul(a, tf.transpose(b, [...leading, b.rank - 1, b.rank - 2]));
}

/** Looks up rows of a table [V, D]: ids [B, T] int32 -> [B, T, D]. The row of `paddingId` gets no gradient. */
export function lookUp(table: tf.Tensor2D, ids: tf.Tensor2D, paddingId: number | null): tf.Tensor3D {
  const [V, D] = table.shape;
  return withGradient(
    { table },
    save => {
      save([ids]);
      return tf.gather(table, ids) as tf.Tensor as tf.Tensor3D;
    },
    (dy, [ids]) => ({
      table: () => {
        const flat = tf.reshape(ids, [-1]) as tf.Tensor1D; // [B · T]
        const learning = paddingId === null ? dy : tf.mul(dy, tf.expandDims(tf.notEqual(ids, paddingId), -1));
        return sumByRow(tf.reshape(learning, [-1, D]) as tf.Tensor2D, flat, V);
      },
    }),
  );
}

/** Sums the rows of values [N, D] that have the same id [N] -> [V, D] */
function sumByRow(values: tf.Tensor2D, ids: tf.Tensor1D, V: number): tf.Tensor2D {
  if (tf.getBackend() !== 'cpu') return tf.unsortedSegmentSum(values, ids, V) as tf.Tensor2D;
  // unsortedSegmentSum of the cpu backend reads all values once for each row of the table.
  return tf.matMul(tf.cast(tf.oneHot(ids, V), 'float32') as tf.Tensor2D, values, true);
}
