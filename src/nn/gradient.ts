import * as tf from '@tensorflow/tfjs';

/** The gradient of each input, computed when it is asked for. */
type Gradients<Name extends string> = Record<Name, () => tf.Tensor>;

/** The part of tfjs's engine that `tf.customGrad` is built on. */
interface Engine {
  runKernelFunc<T extends tf.Tensor>(call: {
    inputs: Record<string, tf.Tensor>;
    forwardFunc: (backend: unknown, save: tf.GradSaveFunc) => T;
    backwardsFunc: (dy: T, saved: tf.Tensor[]) => Record<string, () => tf.Tensor>;
  }): T;
}

/**
 * A function with a gradient of its own, which takes fewer steps and keeps less than that of its parts. As
 * `tf.customGrad`, which however computes the gradients of all inputs, those of frozen weights too.
 *
 * @param forward computes y of `inputs`, and saves what the way back needs
 * @param backward dy and what was saved -> the gradients of `inputs`
 */
export function withGradient<T extends tf.Tensor, Name extends string>(
  inputs: Partial<Record<Name, tf.Tensor>>,
  forward: (save: tf.GradSaveFunc) => T,
  backward: (dy: T, saved: tf.Tensor[]) => Gradients<Name>,
): T {
  const engine = tf.engine() as unknown as Engine;
  return engine.runKernelFunc({
    inputs: inputs as Record<string, tf.Tensor>,
    forwardFunc: (_backend, save) => forward(save),
    backwardsFunc: backward,
  });
}
