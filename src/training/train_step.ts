import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import type { TokenizedTarget } from '../datasets/tokenize.ts';
import { Florence2Error } from '../errors.ts';
import { HookRegistry, type Hooks } from '../hooks/hooks.ts';
import type { Parameter } from '../nn/params.ts';
import { accumulate } from '../nn/tape.ts';
import { collate, disposeBatch, labelWeights, lengthGroups } from './batch.ts';
import { type DropoutSeed, dropout, dropoutHooks } from './dropout.ts';
import { type LossAndGradients, lossAndGradients } from './gradients.ts';
import { batchLosses, TaskMeans } from './losses.ts';
import { clipFactor, globalNorm } from './optimizer.ts';
import type { StepImage } from './step_images.ts';
import type { TrainingContext } from './training_context.ts';
import { frozenMaps, pixelBatch } from './vision_maps.ts';

/** Measurements of one optimizer step. */
export interface StepOutcome {
  losses: TaskMeans;
  learningRate: number;
  /** Global norm of the gradients before clipping. */
  gradNorm: number;
  /** The number of targets. */
  targets: number;
}

/**
 * Runs one optimizer step on some images, in batches of `batchSize`. The loss is the mean over all tokens of the step,
 * so it does not depend on how they are split into batches.
 *
 * @param step counted from 0
 * @throws Florence2Error if the loss or the gradients are not finite; no parameter is changed then
 */
export async function trainStep(
  images: StepImage[],
  context: TrainingContext,
  learningRate: number,
  step: number,
): Promise<StepOutcome> {
  const { florence, settings, optimizer } = context;
  const { model } = florence;
  const { seed, batchSize, maxGradNorm } = settings;
  const targets = images.flatMap(({ tokenized }) => tokenized);
  const scale = 1 / sum(weightsOf(targets, context).flat());
  const losses = new TaskMeans();
  const gradients = new Map<Parameter, tf.Tensor>();
  try {
    for (let batch = 0; batch * batchSize < images.length; batch++) {
      const batchImages = images.slice(batch * batchSize, (batch + 1) * batchSize);
      const targets = batchImages.flatMap(({ tokenized }, i) => tokenized.map(target => ({ target, image: i })));
      const groups = lengthGroups(targets.map(({ target }) => target)).map(group => group.map(i => targets[i]));
      const computed = await runBatch(batchImages, groups, context, scale, { seed, step, batch });
      model.compute(() => {
        for (const [parameter, gradient] of computed.gradients) accumulate(gradients, parameter, gradient);
      });
      const inOrder = groups.flat().map(({ target }) => target);
      await addLosses(losses, computed.losses, inOrder, context);
    }
    const [gradNorm] = (await download(florence.tidy(() => globalNorm(gradients.values())))).values;
    if (!Number.isFinite(losses.mean) || !Number.isFinite(gradNorm)) throw notFinite(step, losses, gradNorm, images);
    model.compute(() => optimizer.step(gradients, learningRate, clipFactor(gradNorm, maxGradNorm)));
    return { losses, learningRate, gradNorm, targets: targets.length };
  } finally {
    tf.dispose([...gradients.values()]);
  }
}

/** A target and the index of its image in the batch. */
interface BatchTarget {
  target: TokenizedTarget;
  image: number;
}

/**
 * Returns the losses of a batch's targets, group by group, and the gradients of Σ losses · scale. The caller disposes
 * both.
 */
async function runBatch(
  images: StepImage[],
  groups: BatchTarget[][],
  context: TrainingContext,
  scale: number,
  at: DropoutSeed,
): Promise<LossAndGradients> {
  const { florence, settings, lora, trainable, maps, visionLearns } = context;
  const { model, preprocessor } = florence;
  const input = visionLearns
    ? model.compute(() => pixelBatch(images, preprocessor))
    : await frozenMaps(florence, images, maps);
  const collateGroup = (group: BatchTarget[]) => {
    const targets = group.map(({ target }) => target);
    const imageIndex = group.map(({ image }) => image);
    return collate(targets, imageIndex, weightsOf(targets, context), model.config.text);
  };
  const batches = model.compute(() => groups.map(collateGroup));
  const pass = (h: Hooks): tf.Tensor1D => {
    const features = visionLearns ? model.encodeImage(input, h) : model.projectMap(input, h); // [I, 1 + N, D]
    const losses = batches.map(batch => batchLosses(model, features, batch, settings.labelSmoothing, h));
    return h.block('losses', (_, ...losses) => tf.concat(losses) as tf.Tensor1D, ...losses); // [R]
  };
  const hooks = settings.dropout ? dropoutHooks(model.config, at) : new HookRegistry();
  if (lora && settings.dropout) {
    lora.inputDropout = (x, name) => dropout(x, lora.settings.dropout, at, `${name}.lora`);
  }
  try {
    const checkpointing = settings.gradientCheckpointing ?? visionLearns;
    const run = () => lossAndGradients(pass, trainable, scale, hooks, checkpointing);
    return model.compute(run, florence.adaptation);
  } finally {
    if (lora) lora.inputDropout = null;
    input.dispose();
    batches.forEach(disposeBatch);
  }
}

/** Adds a batch's losses [R] to those of the step and disposes them. */
async function addLosses(
  sums: TaskMeans,
  losses: tf.Tensor1D,
  targets: TokenizedTarget[],
  context: TrainingContext,
): Promise<void> {
  const weights = weightsOf(targets, context);
  const { values } = await download(losses);
  targets.forEach(({ task }, i) => {
    sums.add(task, values[i], sum(weights[i]));
  });
}

const weightsOf = (targets: TokenizedTarget[], { settings, florence }: TrainingContext): number[][] =>
  labelWeights(targets, { locationWeight: settings.locationWeight, tokenizer: florence.tokenizer });

function notFinite(step: number, losses: TaskMeans, gradNorm: number, images: StepImage[]): Florence2Error {
  const lossByTask = Object.entries(losses.byTask);
  const tasks = lossByTask.flatMap(([task, loss]) => (Number.isFinite(loss) ? [] : task)).sort();
  const where = tasks.length > 0 ? ` for ${tasks.join(', ')}` : '';
  return new Florence2Error(
    `Step ${step + 1}: the loss is ${losses.mean}${where} and the gradient norm is ${gradNorm}. Examples of this step: ${images.map(({ source }) => source).join('; ')}. The step was discarded; try a lower learning rate.`,
  );
}

const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
