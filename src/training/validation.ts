import * as tf from '@tensorflow/tfjs';
import type { Florence2 } from '../florence2.ts';
import { ImageFeatures } from '../image_features.ts';
import { noHooks } from '../internals/hooks.ts';
import { collate, disposeBatch } from './batch.ts';
import type { TrainingExample } from './example.ts';
import { batchLosses } from './forward.ts';
import { Evaluator } from './metrics/evaluator.ts';
import type { StepImage } from './step_images.ts';
import { TaskMeans } from './task_means.ts';

/** An image of the validation set, with the vision tower's map of it. */
export interface ValidationImage {
  image: StepImage;
  example: TrainingExample;
  /** [1, H, W, C] */
  map: tf.Tensor4D;
}

/** Losses and metrics over a validation set, gathered image by image. */
export class Validation {
  readonly losses = new TaskMeans();
  readonly answers = new Evaluator();

  constructor(private readonly florence: Florence2) {}

  /** Adds the losses of an image's targets under teacher forcing, and greedy answers to them. */
  async add({ image, example, map }: ValidationImage, signal?: AbortSignal): Promise<void> {
    const features = tf.tidy(() => this.florence.model.projectMap(map, noHooks)); // [1, 1 + N, D]
    try {
      await this.addLosses(image, features);
      await this.addAnswers(image, example, features, signal);
    } finally {
      features.dispose();
    }
  }

  private async addLosses({ targets }: StepImage, features: tf.Tensor3D): Promise<void> {
    const { model } = this.florence;
    const weights = targets.map(({ answerIds }) => answerIds.map(() => 1));
    const imageIndex = targets.map(() => 0);
    const batch = collate(targets, imageIndex, weights, model.config.text);
    const losses = batchLosses(model, features, batch, 0, noHooks);
    disposeBatch(batch);
    const values = await losses.data();
    losses.dispose();
    targets.forEach(({ task, answerIds }, i) => {
      this.losses.add(task, values[i], answerIds.length);
    });
  }

  private async addAnswers(
    { imageSize }: StepImage,
    { targets }: TrainingExample,
    features: tf.Tensor3D,
    signal?: AbortSignal,
  ): Promise<void> {
    const image = new ImageFeatures(features, imageSize);
    const requests = targets.map(({ task, text, box }) => ({ image, task, text, box }));
    const results = await this.florence.runBatch(requests, { numBeams: 1, signal });
    results.forEach((result, i) => {
      this.answers.add(targets[i], imageSize, result);
    });
  }
}
