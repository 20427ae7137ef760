import * as tf from '@tensorflow/tfjs';
import type { Dataset } from '../../src/datasets/example.ts';
import { lengthLimits, type TokenizedTarget } from '../../src/datasets/tokenize.ts';
import type { Florence2 } from '../../src/florence2.ts';
import type { HookRegistry, Hooks } from '../../src/hooks/hooks.ts';
import type { Parameter } from '../../src/nn/params.ts';
import { collate, disposeBatch } from '../../src/training/batch.ts';
import { lossAndGradients } from '../../src/training/gradients.ts';
import { batchLosses } from '../../src/training/losses.ts';
import { ExampleReader } from '../../src/training/step_images.ts';
import { pixelBatch } from '../../src/training/vision_maps.ts';

/** A whole dataset as one batch, which can be run forward and backward repeatedly. */
export interface Lesson {
  targets: TokenizedTarget[];
  /** Sum of the weights of all labels. */
  tokens: number;
  pass: (h: Hooks) => tf.Tensor1D;
  dispose(): void;
}

/** Prepares a lesson. @param pad number of padding columns added to the answers */
export async function lessonOf(florence: Florence2, dataset: Dataset, { pad = 0 } = {}): Promise<Lesson> {
  const { model, tokenizer, config, preprocessor } = florence;
  const reader = new ExampleReader('lesson', [dataset], tokenizer, lengthLimits(config, preprocessor), { seed: 0 });
  const draws = Array.from({ length: dataset.length }, (_, index) => ({ part: 0, index }));
  const images = await Promise.all(draws.map(draw => reader.read(draw, 0, () => false)));
  const targets = images.flatMap(({ tokenized }) => tokenized);
  const imageIndex = images.flatMap(({ tokenized }, i) => tokenized.map(() => i));
  const weights = targets.map(({ answerIds }) => answerIds.map(() => 1));
  const pixels = pixelBatch(images, preprocessor);
  const plain = collate(targets, imageIndex, weights, config.text);
  const wider = (t: tf.Tensor2D, filler: number): tf.Tensor2D => {
    const padded = tf.pad(
      t,
      [
        [0, 0],
        [0, pad],
      ],
      filler,
    );
    t.dispose();
    return padded;
  };
  const { padTokenId } = config.text;
  const batch = {
    ...plain,
    labels: wider(plain.labels, padTokenId),
    weights: wider(plain.weights, 0),
    decoderInputIds: wider(plain.decoderInputIds, padTokenId),
  };
  return {
    targets,
    tokens: weights.flat().length,
    pass: h => batchLosses(model, model.encodeImage(pixels, h), batch, 0, h),
    dispose: () => {
      pixels.dispose();
      disposeBatch(batch);
    },
  };
}

/** Returns the loss of each target, and the gradients of the mean over tokens, by parameter. */
export async function learn(
  { pass, tokens }: Lesson,
  trainable: readonly Parameter[],
  hooks: HookRegistry,
  gradientCheckpointing: boolean,
): Promise<{ losses: Float32Array; gradients: Map<string, Float32Array> }> {
  const result = lossAndGradients(pass, trainable, 1 / tokens, hooks, gradientCheckpointing);
  const gradients = new Map<string, Float32Array>();
  for (const [{ name }, gradient] of result.gradients) gradients.set(name, (await gradient.data()) as Float32Array);
  const losses = (await result.losses.data()) as Float32Array;
  tf.dispose([result.losses, ...result.gradients.values()]);
  return { losses, gradients };
}
