import * as tf from '@tensorflow/tfjs';

/** Runs `body` and throws if the number of tensors has changed. */
export async function withoutLeaks<T>(body: () => Promise<T> | T): Promise<T> {
  const before = tf.memory().numTensors;
  const result = await body();
  const leaked = tf.memory().numTensors - before;
  if (leaked !== 0) throw new Error(`${leaked} tensors leaked`);
  return result;
}
