import type * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { Evaluator } from '../evaluation/evaluator.ts';
import type { Florence2 } from '../florence2.ts';
import { noHooks } from '../hooks/hooks.ts';
import { ImageFeatures } from '../image/features.ts';
import { collate, disposeBatch } from './batch.ts';
import { batchLosses, TaskMeans } from './losses.ts';
import type { StepImage } from './step_images.ts';

/** Accumulates losses and metrics over a validation set, image by image. */
export class Validation {
  readonly losses = new TaskMeans();
  readonly answers = new Evaluator({ keepUnicode: true });

  constructor(private readonly florence: Florence2) {}

  /**
   * Adds an image: the losses of its targets under teacher forcing, and the metrics of greedy answers.
   *
   * @param map the vision tower's feature map of the image, [1, H, W, C]
   */
  async add(image: StepImage, map: tf.Tensor4D, signal?: AbortSignal): Promise<void> {
    const features = this.florence.tidy(() => this.florence.model.projectMap(map, noHooks)); // [1, 1 + N, D]
    try {
      await this.addLosses(image, features);
      await this.addAnswers(image, features, signal);
    } finally {
      features.dispose();
    }
  }

  private async addLosses({ tokenized }: StepImage, features: tf.Tensor3D): Promise<void> {
    const { model } = this.florence;
    const weights = tokenized.map(({ answerIds }) => answerIds.map(() => 1));
    const imageIndex = tokenized.map(() => 0);
    const batch = collate(tokenized, imageIndex, weights, model.config.text);
    try {
      const { values } = await download(this.florence.tidy(() => batchLosses(model, features, batch, 0, noHooks)));
      tokenized.forEach(({ task, answerIds }, i) => {
        this.losses.add(task, values[i], answerIds.length);
      });
    } finally {
      disposeBatch(batch);
    }
  }

  private async addAnswers(
    { imageSize, targets }: StepImage,
    features: tf.Tensor3D,
    signal?: AbortSignal,
  ): Promise<void> {
    const image = new ImageFeatures(features, imageSize);
    const requests = targets.map(({ task, text, box }) => ({ image, task, text, box }));
    const results = await this.florence.runBatch(requests, { numBeams: 1, keepUnicode: true, signal });
    results.forEach((result, i) => {
      this.answers.add(targets[i], imageSize, result);
    });
  }
}
