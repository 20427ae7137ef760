import * as tf from '@tensorflow/tfjs';

/** Added to a score, it leaves a weight of exactly 0 in float32 after the softmax. */
const HIDDEN = -1e9;

/** mask [B, S], 1 = may be seen, 0 = padding -> scores to add, [B, 1, 1, S] */
export function paddingMask(mask: tf.Tensor2D): tf.Tensor4D {
  return tf.tidy(() => {
    const hidden = tf.mul(tf.sub(1, tf.cast(mask, 'float32')), HIDDEN);
    return tf.expandDims(tf.expandDims(hidden, 1), 1) as tf.Tensor4D;
  });
}

/** T new tokens after `past` old ones, none of which sees a later one -> scores to add, [1, 1, T, past + T] */
export function causalMask(T: number, past: number): tf.Tensor4D {
  const S = past + T;
  const scores = new Float32Array(T * S);
  for (let t = 0; t < T; t++) scores.fill(HIDDEN, t * S + past + t + 1, (t + 1) * S);
  return tf.tensor4d(scores, [1, 1, T, S]);
}
