import * as tf from '@tensorflow/tfjs';

/** The Euclidean norm of all gradients taken as one vector. */
export function globalNorm(gradients: Iterable<tf.Tensor>): tf.Scalar {
  return tf.tidy(() => {
    const squares = Array.from(gradients, gradient => tf.tidy(() => tf.sum(tf.square(gradient)) as tf.Scalar));
    return tf.sqrt(squares.length > 0 ? tf.sum(tf.stack(squares)) : tf.scalar(0)); // addN takes but a few on webgpu
  });
}

/** What every gradient is multiplied by so that the norm of all is at most `maxNorm`, as `clip_grad_norm_` does. */
export function clipFactor(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}
