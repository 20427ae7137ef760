import * as tf from '@tensorflow/tfjs';

/** Marks a position of the labels that counts for nothing, as in PyTorch. */
export const IGNORED = -100;

/**
 * Cross-entropy of each answer: the sum over its tokens of weight · −log p(label).
 *
 * @param logits [R, T, V]
 * @param labels [R, T] int32; what stands where the weight is 0 does not matter, so long as it is an id
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
    const logProbs = tf.logSoftmax(tf.reshape(logits, [R * T, V])); // [R · T, V]
    const [on, off] = [1 - smoothing + smoothing / V, smoothing / V];
    const target = tf.oneHot(tf.reshape(labels, [-1]), V, on, off, 'float32'); // [R · T, V]
    const losses = tf.neg(tf.sum(tf.mul(target, logProbs), 1)); // [R · T]
    return tf.sum(tf.mul(tf.reshape(losses, [R, T]), weights), 1) as tf.Tensor1D;
  });
}
