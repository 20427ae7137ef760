import * as tf from '@tensorflow/tfjs';
import { withGradient } from './tape.ts';

/**
 * Returns the cross-entropy of each answer: the sum over its tokens of weight · −log p(label).
 *
 * @param logits [R, T, V]
 * @param labels [R, T] int32; where the weight is 0, any token id
 * @param weights [R, T]
 * @param smoothing share of the probability, 0 to 1, that the target spreads evenly over the vocabulary (Szegedy et
 *   al. 2016, sec. 7), as in `torch.nn.CrossEntropyLoss`
 * @returns [R]
 */
export function answerLosses(
  logits: tf.Tensor3D,
  labels: tf.Tensor2D,
  weights: tf.Tensor2D,
  smoothing: number,
): tf.Tensor1D {
  const [R, T, V] = logits.shape;
  return tf.tidy(() => {
    const rows = tf.reshape(logits, [R * T, V]) as tf.Tensor2D;
    const losses = crossEntropy(rows, tf.reshape(labels, [R * T]) as tf.Tensor1D, smoothing); // [R · T]
    return tf.sum(tf.mul(tf.reshape(losses, [R, T]), weights), 1) as tf.Tensor1D;
  });
}

/**
 * Returns −Σ target · log p of each row. Logits are the largest tensors of a training step, so the backward pass keeps
 * only log p.
 *
 * @param logits [N, V]
 * @param labels [N] int32
 * @returns [N]
 */
function crossEntropy(logits: tf.Tensor2D, labels: tf.Tensor1D, smoothing: number): tf.Tensor1D {
  const V = logits.shape[1];
  const target = (labels: tf.Tensor): tf.Tensor => {
    const one = tf.cast(tf.oneHot(labels as tf.Tensor1D, V), 'float32'); // on wasm oneHot returns integers only
    return smoothing === 0 ? one : tf.add(tf.mul(one, 1 - smoothing), smoothing / V); // [N, V]
  };
  return withGradient(
    { logits },
    save => {
      const logProbs = tf.logSoftmax(logits);
      save([logProbs, labels]);
      return tf.neg(tf.sum(tf.mul(target(labels), logProbs), 1)) as tf.Tensor1D;
    },
    (dy, [logProbs, labels]) => ({
      logits: () => tf.mul(tf.sub(tf.exp(logProbs), target(labels)), tf.expandDims(dy, 1)),
    }),
  );
}
