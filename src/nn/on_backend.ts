import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';

/**
 * Runs a synchronous function on a backend that has been started, whichever is active. The active backend is the same
 * afterwards. No other code of the process runs meanwhile, so several models can use different backends.
 *
 * A change of the backend takes about a millisecond.
 *
 * @throws Florence2Error if the backend was removed from TensorFlow.js
 */
export function onBackend<T>(name: string, body: () => T): T {
  const active = tf.getBackend();
  if (active === name) return body();
  if (!(name in tf.engine().registry)) {
    throw new Florence2Error(`The ${name} backend was removed from TensorFlow.js. Load the model again.`);
  }
  activate(name);
  try {
    return body();
  } finally {
    if (active in tf.engine().registry) activate(active);
  }
}

/** Runs a synchronous function on the backend that holds a tensor. Elsewhere tfjs would move the tensor. */
export function onBackendOf<T>(tensor: tf.Tensor, body: () => T): T {
  const { state, registry } = tf.engine();
  const holder = state.tensorInfo.get(tensor.dataId)?.backend;
  const name = Object.keys(registry).find(name => registry[name] === holder);
  return name === undefined ? body() : onBackend(name, body);
}

/** Activates a backend that has been started. `tf.setBackend` is asynchronous only for others. */
export const activate = (name: string): void => void tf.setBackend(name);
