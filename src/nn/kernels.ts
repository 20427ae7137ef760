import * as tf from '@tensorflow/tfjs';
import { withGradient } from './tape.ts';

/**
 * The kernels that this package adds to some backends: functions of ops.ts and their gradients in one pass over memory,
 * attention, and others. See runtime/tensorflow.ts and runtime/webgpu_kernels.ts.
 */
export const KERNEL_NAMES = [
  'Attention',
  'AttentionGrad',
  'Gelu',
  'GeluGrad',
  'LayerNorm',
  'LayerNormGrad',
  'LowRank',
  'LowRankGrad',
  'ReadWeight',
  'SoftmaxGrad',
  'TopOfRows',
] as const;

export type Kernel = (typeof KERNEL_NAMES)[number];

/** Whether the active backend has this kernel. */
export const hasKernel = (kernel: Kernel): boolean =>
  tf.getKernel(registeredName(kernel), tf.getBackend()) !== undefined;

/** The name under which a kernel is registered in tfjs. */
export const registeredName = (kernel: Kernel): string => `Florence2${kernel}`;

function run<T extends tf.Tensor | tf.Tensor[] = tf.Tensor>(
  kernel: Kernel,
  inputs: tf.NamedTensorMap,
  attributes: object = {},
): T {
  return tf.engine().runKernel(registeredName(kernel), inputs, attributes as tf.NamedAttrMap) as T;
}

/** Returns softmax(q kᵀ · scale + mask) v, like `attend` of attention.ts, without storing the scores. */
export function attention(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  mask: tf.Tensor4D | null,
  scale: number,
): tf.Tensor4D {
  return withGradient<tf.Tensor4D, 'q' | 'k' | 'v'>(
    { q, k, v },
    save => {
      const hidden = mask ?? tf.tensor1d([]);
      save([q, k, v, hidden]);
      return run('Attention', { q, k, v, hidden }, { scale });
    },
    (dz, [q, k, v, hidden]) => {
      const [dq, dk, dv] = run<tf.Tensor[]>('AttentionGrad', { q, k, v, hidden, dz }, { scale });
      return { q: () => dq, k: () => dk, v: () => dv };
    },
  );
}

/** `gelu` of ops.ts. */
export function gelu<T extends tf.Tensor>(x: T): T {
  return withGradient(
    { x },
    save => {
      save([x]);
      return run<T>('Gelu', { x });
    },
    (dy, [x]) => ({ x: () => run('GeluGrad', { x, dy }) }),
  );
}

/** `layerNorm` of ops.ts. */
export function layerNorm<T extends tf.Tensor>(x: T, weight: tf.Tensor1D, bias: tf.Tensor1D, epsilon: number): T {
  const leading = x.shape.slice(0, -1).map((_, axis) => axis);
  return withGradient(
    { x, weight, bias },
    save => {
      save([x, weight]);
      return run<T>('LayerNorm', { x, weight, bias }, { epsilon });
    },
    (dy, [x, weight]) => ({
      x: () => run('LayerNormGrad', { x, weight, dy }, { epsilon }),
      weight: () => {
        const normal = run('LayerNorm', { x, weight: tf.onesLike(weight), bias: tf.zerosLike(weight) }, { epsilon });
        return tf.sum(tf.mul(dy, normal), leading);
      },
      bias: () => tf.sum(dy, leading),
    }),
  );
}

/** `lowRank` of ops.ts. */
export function lowRank(y: tf.Tensor2D, x: tf.Tensor2D, a: tf.Tensor2D, b: tf.Tensor2D, scale: number): tf.Tensor2D {
  return withGradient<tf.Tensor2D, 'y' | 'x' | 'a' | 'b'>(
    { y, x, a, b },
    save => {
      save([x, a, b]);
      return run('LowRank', { y, x, a, b }, { scale });
    },
    (dy, [x, a, b]) => {
      const [dx, da, db] = run<tf.Tensor[]>('LowRankGrad', { x, a, b, dy }, { scale });
      return { y: () => dy, x: () => dx, a: () => da, b: () => db };
    },
  );
}

/** `softmax` of ops.ts. */
export function softmax<T extends tf.Tensor>(x: T): T {
  return withGradient(
    { x },
    save => {
      const y = tf.softmax(x);
      save([y]);
      return y;
    },
    (dy, [y]) => ({ x: () => run('SoftmaxGrad', { y, dy }) }),
  );
}

/** Consecutive indices whose order has a meaning, such as the bins of a coordinate. */
export interface Neighbourhood {
  readonly first: number;
  readonly count: number;
  /** Indices that differ by at most this number are neighbours. */
  readonly radius: number;
}

/**
 * Returns for each row its top-k values (ties: lowest index first), their indices, Σ exp(x − max) over the neighbours of
 * each, and Σ exp(x − max) over the row. An index outside the neighbourhood has no other neighbour than itself.
 *
 * @param x logits [rows, n]
 * @returns [rows, k + k + k + 1]
 */
export const topOfRows = (x: tf.Tensor2D, k: number, { first, count, radius }: Neighbourhood): tf.Tensor2D =>
  run('TopOfRows', { x }, { k, first, count, radius });

/** Location of consecutive values in a file. */
export interface FilePlace {
  readonly file: string;
  /** Offset of the first value, in bytes. */
  readonly position: number;
  readonly dtype: 'F16' | 'F32';
}

/**
 * Reads a matrix [rows, columns] from a file.
 *
 * @param transposed whether to return [columns, rows]
 */
export function readWeight(place: FilePlace, rows: number, columns: number, transposed: boolean): tf.Tensor2D {
  const { file, position, dtype } = place;
  return tf.tidy(() => {
    const at = tf.tensor1d([Math.floor(position / 2 ** 31), position % 2 ** 31], 'int32');
    return run('ReadWeight', { at }, { file, halves: dtype === 'F16', rows, columns, transposed });
  });
}
