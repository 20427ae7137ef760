import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import type { Parameter } from '../nn/params.ts';
import { type Batch, disposeBatch } from '../training/batch.ts';
import { type LossPass, lossAndGradients } from '../training/gradients.ts';
import { batchLosses } from '../training/losses.ts';
import { AdamW, clipFactor, globalNorm } from '../training/optimizer.ts';
import { untrainable } from '../training/trainable.ts';
import type { TensorFile } from '../weights/tensor_file.ts';
import { IGNORED_LABEL } from './passes.ts';
import { readIds, readPixels, type Subject } from './subject.ts';
import type { TrainingRecord } from './training_record.ts';

/** A training on the inputs of a reference folder, computed by the same code as in the Trainer. */
export interface TrainingSetup {
  readonly pass: LossPass;
  readonly trainable: readonly Parameter[];
  /** Number of tokens over which the loss is averaged. */
  readonly tokens: number;
  readonly hooks: Subject['hooks'];
}

/**
 * Prepares the inputs as a training batch, calls `body`, and frees the batch.
 *
 * @param countPadding include padding in the loss, with the padding token as label
 */
export async function withTrainingSetup<T>(
  { model, inputs, hooks }: Subject,
  trainable: readonly Parameter[],
  body: (setup: TrainingSetup) => Promise<T>,
  countPadding = false,
): Promise<T> {
  const { batch, tokens } = await readBatch(inputs, model.config.text.padTokenId, countPadding);
  const pixels = await readPixels(inputs);
  const visionIsTrained = trainable.some(({ name }) => name.startsWith('vision_tower.'));
  const frozen = visionIsTrained
    ? null
    : tf.tidy(() => model.visionTower.forward(pixels, hooks.root().in('vision_tower')));
  try {
    const pass: LossPass = h => {
      const features = frozen ? model.projectMap(frozen, h) : model.encodeImage(pixels, h);
      return batchLosses(model, features, batch, 0, h);
    };
    return await body({ pass, trainable, tokens, hooks });
  } finally {
    tf.dispose([pixels, frozen ?? []]);
    disposeBatch(batch);
  }
}

async function readBatch(
  inputs: TensorFile,
  padTokenId: number,
  countPadding: boolean,
): Promise<{ batch: Batch; tokens: number }> {
  const [promptIds, promptMask, decoderInputIds] = await Promise.all(
    ['text_input_ids', 'text_attention_mask', 'decoder_input_ids'].map(name => readIds(inputs, name)),
  );
  const labels = await inputs.readInt32('labels');
  const counts = labels.map(label => Number(countPadding || label !== IGNORED_LABEL));
  const ids = labels.map(label => (label === IGNORED_LABEL ? padTokenId : label));
  const batch: Batch = {
    imageIndex: tf.range(0, promptIds.shape[0], 1, 'int32'),
    promptIds,
    promptMask,
    decoderInputIds,
    labels: tf.tensor2d(ids, decoderInputIds.shape, 'int32'),
    weights: tf.tensor2d(Float32Array.from(counts), decoderInputIds.shape),
  };
  return { batch, tokens: counts.reduce((sum, count) => sum + count, 0) };
}

/** Computes the gradients of the mean loss, passes them to `use`, and returns the loss. */
export async function withGradients(
  { pass, trainable, tokens, hooks }: TrainingSetup,
  checkpoint: boolean,
  use: (gradients: Map<Parameter, tf.Tensor>) => Promise<void>,
): Promise<number> {
  const { losses, gradients } = lossAndGradients(pass, trainable, 1 / tokens, hooks, checkpoint);
  try {
    await use(gradients);
    return (await sum(losses)) / tokens;
  } finally {
    tf.dispose([losses, ...gradients.values()]);
  }
}

/** Losses and gradient norms as in `TrainingRecord`. */
export interface StepValues {
  losses: number[];
  gradNorms: number[];
}

/**
 * Trains for the recorded number of steps, then restores the parameters.
 *
 * @param first called with the gradients of the first step, before clipping
 * @param last called after the last step, before the parameters are restored
 */
export async function takeSteps(
  setup: TrainingSetup,
  { learningRate, adamW, maxGradNorm, gradNorms: { length: steps } }: TrainingRecord,
  first: (gradients: Map<Parameter, tf.Tensor>) => Promise<void>,
  last: () => Promise<void>,
): Promise<StepValues> {
  const { pass, trainable, tokens, hooks } = setup;
  const optimizer = new AdamW({ ...adamW, decays: () => true });
  const before = trainable.map(({ value }) => tf.clone(value));
  const values: StepValues = { losses: [], gradNorms: [] };
  try {
    for (let step = 0; step < steps; step++) {
      const loss = await withGradients(setup, false, async gradients => {
        if (step === 0) await first(gradients);
        const [norm] = (await download(globalNorm(gradients.values()))).values;
        optimizer.step(gradients, learningRate, clipFactor(norm, maxGradNorm));
        values.gradNorms.push(norm);
      });
      values.losses.push(loss);
    }
    const losses = tf.tidy(() => pass(hooks.root()));
    values.losses.push((await sum(losses).finally(() => losses.dispose())) / tokens);
    await last();
    return values;
  } finally {
    optimizer.dispose();
    trainable.forEach((parameter, i) => {
      parameter.replace(before[i]);
    });
  }
}

const sum = async (losses: tf.Tensor): Promise<number> =>
  (await download(tf.clone(losses))).values.reduce((a, b) => a + b);

/** Returns why the backend cannot train these parameters, or undefined if it can. */
export function untrainableReason(trainable: readonly Parameter[]): string | undefined {
  const backend = tf.getBackend();
  const found = untrainable(trainable, backend);
  return found && `${backend} cannot train ${found.name}: ${found.reason}`;
}
