import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { answerLosses } from '../nn/cross_entropy.ts';
import type { Batch } from './batch.ts';

/**
 * The loss of each target of a batch under teacher forcing, see `answerLosses`.
 *
 * Picking rows and the loss are blocks of no module's name, since they have no parameters.
 *
 * @param imageFeatures of the batch's images [I, 1 + N, D]; each is used by all of its targets
 * @returns [R]
 */
export function batchLosses(
  model: Florence2Model,
  imageFeatures: tf.Tensor3D,
  batch: Batch,
  labelSmoothing: number,
  h: Hooks,
): tf.Tensor1D {
  const { imageIndex, promptIds, promptMask, decoderInputIds, labels, weights } = batch;
  return tf.tidy(() => {
    const pick = (_: Hooks, features: tf.Tensor3D, index: tf.Tensor1D) => tf.gather(features, index) as tf.Tensor3D;
    const rows = h.block('image_rows', pick, imageFeatures, imageIndex); // [R, 1 + N, D]
    const memory = model.encodePrompt(rows, promptIds, promptMask, h);
    const logits = model.logits(decoderInputIds, memory, h); // [R, L, V]
    const losses = (_: Hooks, logits: tf.Tensor3D, labels: tf.Tensor2D, weights: tf.Tensor2D) =>
      answerLosses(logits, labels, weights, labelSmoothing);
    return h.block('loss', losses, logits, labels, weights);
  });
}
