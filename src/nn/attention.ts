import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import { attention, hasKernel } from './kernels.ts';
import { matMulTransposed, softmax } from './ops.ts';
import { recomputed } from './tape.ts';

/** x [B, T, heads · d] -> [B, heads, T, d] */
export function splitHeads(x: tf.Tensor3D, heads: number): tf.Tensor4D {
  const [B, T, C] = x.shape;
  return tf.tidy(() => tf.transpose(tf.reshape(x, [B, T, heads, C / heads]), [0, 2, 1, 3]) as tf.Tensor4D);
}

/** z [B, heads, T, d] -> [B, T, heads · d] */
export function mergeHeads(z: tf.Tensor4D): tf.Tensor3D {
  const [B, heads, T, d] = z.shape;
  return tf.tidy(() => tf.reshape(tf.transpose(z, [0, 2, 1, 3]), [B, T, heads * d]) as tf.Tensor3D);
}

/** Output of a fused projection, qkv [B, T, 3 · heads · d] -> q, k, v, each [B, heads, T, d] */
export function splitQkv(qkv: tf.Tensor3D, heads: number): [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D] {
  const [B, T, C3] = qkv.shape;
  return tf.tidy(() => {
    const parts = tf.transpose(tf.reshape(qkv, [B, T, 3, heads, C3 / 3 / heads]), [2, 0, 3, 1, 4]); // [3, B, heads, T, d]
    return tf.unstack(parts) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  });
}

/**
 * Scaled dot-product attention, softmax(q kᵀ / √d + mask) v.
 *
 * @param q [B, heads, T, d]
 * @param k [B, heads, S, d]
 * @param v [B, heads, S, d]
 * @param mask added to the scores, broadcast to [B, heads, T, S]: 0 for visible keys, a large negative number for
 *   hidden ones
 * @returns [B, heads, T, d]
 */
export function attend(
  q: tf.Tensor4D,
  k: tf.Tensor4D,
  v: tf.Tensor4D,
  mask: tf.Tensor4D | null,
  h: Hooks,
): tf.Tensor4D {
  const scale = q.shape[3] ** -0.5;
  if (hasKernel('Attention') && !h.sees('hook_attn_scores') && !h.sees('hook_pattern'))
    return h.at('hook_z', attention(q, k, v, mask, scale));
  const attendTo = ([q, k, v]: [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D], mask: tf.Tensor4D | null): tf.Tensor4D =>
    tf.tidy(() => {
      const scores = matMulTransposed(tf.mul(q, scale), k); // [B, heads, T, S]
      const masked = h.at('hook_attn_scores', mask ? tf.add(scores, mask) : scores) as tf.Tensor4D;
      const pattern = h.at('hook_pattern', softmax(masked)); // [B, heads, T, S]
      return tf.matMul(pattern, v); // [B, heads, T, d]
    });
  // Under dropout, gradients would keep the pattern twice and its mask: half of the memory of a training step.
  const again = h.repeats('hook_pattern') && !h.sees('hook_attn_scores');
  return h.at('hook_z', again ? recomputed(attendTo, [q, k, v], mask) : attendTo([q, k, v], mask));
}
