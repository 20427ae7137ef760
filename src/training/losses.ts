import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { answerLosses } from '../nn/cross_entropy.ts';
import type { Batch } from './batch.ts';

/**
 * Returns the loss of each target of a batch under teacher forcing, [R], see `answerLosses`.
 *
 * Gathering rows and computing the loss are blocks named after no module, since they have no parameters.
 *
 * @param imageFeatures features of the batch's images [I, 1 + N, D]; all targets of an image share them
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

/** Weighted mean losses, overall and by task. */
export class TaskMeans {
  private readonly sums = new Map<string, { loss: number; weight: number }>();

  /**
   * Adds the loss of one answer.
   *
   * @param loss weighted sum over the answer's tokens
   * @param weight sum of the tokens' weights
   */
  add(task: string, loss: number, weight: number): void {
    const sum = this.sums.get(task) ?? { loss: 0, weight: 0 };
    this.sums.set(task, { loss: sum.loss + loss, weight: sum.weight + weight });
  }

  /** The mean over all tokens. */
  get mean(): number {
    const all = [...this.sums.values()];
    return all.reduce((sum, { loss }) => sum + loss, 0) / all.reduce((sum, { weight }) => sum + weight, 0);
  }

  /** The mean over the tokens of each task. */
  get byTask(): Record<string, number> {
    return Object.fromEntries([...this.sums].map(([task, { loss, weight }]) => [task, loss / weight]));
  }
}
