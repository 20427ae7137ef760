import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { HookRegistry, Hooks } from '../internals/hooks.ts';
import type { Parameter } from '../nn/params.ts';
import { collate, disposeBatch, labelWeights, lengthGroups } from './batch.ts';
import { clipFactor, globalNorm } from './clip.ts';
import type { FeatureCache } from './feature_cache.ts';
import { batchLosses } from './forward.ts';
import { lossAndGradients } from './gradients.ts';
import type { AdamW } from './optimizer.ts';
import type { TrainerSettings } from './options.ts';
import type { StepImage } from './step_images.ts';
import { TaskMeans } from './task_means.ts';
import { frozenMaps, pixelBatch } from './vision_maps.ts';

/** What a step works on. */
export interface TrainingContext {
  florence: Florence2;
  settings: TrainerSettings;
  trainable: readonly Parameter[];
  optimizer: AdamW;
  hooks: HookRegistry;
  cache: FeatureCache;
  /** Whether the vision tower is run backward. */
  visionLearns: boolean;
}

export interface StepOutcome {
  losses: TaskMeans;
  learningRate: number;
  /** Before clipping. */
  gradNorm: number;
  targets: number;
}

type Gradients = Map<Parameter, tf.Tensor>;

/**
 * One step of the optimizer on some images, in batches of `batchSize`. The loss is the mean over all tokens of the step,
 * however they are spread over batches.
 *
 * @throws Florence2Error when loss or gradients are not finite, before any parameter is changed
 */
export async function trainStep(
  images: StepImage[],
  context: TrainingContext,
  learningRate: number,
  step: number,
): Promise<StepOutcome> {
  const { settings, optimizer } = context;
  const losses = new TaskMeans();
  const gradients: Gradients = new Map();
  const targets = images.flatMap(image => image.targets);
  try {
    const total = sum(labelWeights(targets, labelOptions(context)).flat());
    for (let i = 0; i < images.length; i += settings.batchSize) {
      await addBatch(images.slice(i, i + settings.batchSize), context, 1 / total, losses, gradients);
    }
    const gradNorm = await read(globalNorm(gradients.values()));
    if (!Number.isFinite(losses.mean) || !Number.isFinite(gradNorm)) throw notFinite(step, losses, gradNorm, images);
    const factor = clipFactor(gradNorm, settings.maxGradNorm);
    optimizer.step(gradients, learningRate, factor);
    return { losses, learningRate, gradNorm, targets: targets.length };
  } finally {
    tf.dispose([...gradients.values()]);
  }
}

/** Adds a batch's losses and gradients to the step's. */
async function addBatch(
  images: StepImage[],
  context: TrainingContext,
  scale: number,
  losses: TaskMeans,
  gradients: Gradients,
): Promise<void> {
  const { florence, settings, trainable, hooks, cache, visionLearns } = context;
  const { model, preprocessor } = florence;
  const targets = images.flatMap(image => image.targets);
  if (targets.length === 0) return;
  const weights = labelWeights(targets, labelOptions(context));
  const imageIndex = images.flatMap((image, i) => image.targets.map(() => i));
  const groups = lengthGroups(targets);
  const batches = groups.map(group => {
    const pick = <T>(list: T[]): T[] => group.map(i => list[i]);
    return collate(pick(targets), pick(imageIndex), pick(weights), model.config.text);
  });
  const input = visionLearns ? pixelBatch(images, preprocessor) : await frozenMaps(model, images, preprocessor, cache);
  const pass = (h: Hooks): tf.Tensor1D => {
    const features = visionLearns ? model.encodeImage(input, h) : model.projectMap(input, h); // [I, 1 + N, D]
    const losses = batches.map(batch => batchLosses(model, features, batch, settings.labelSmoothing, h));
    return h.block('', (_, ...losses) => tf.concat(losses) as tf.Tensor1D, ...losses); // [R], group by group
  };
  const checkpoint = settings.gradientCheckpointing ?? visionLearns;
  let made: ReturnType<typeof lossAndGradients>;
  try {
    made = lossAndGradients(pass, trainable, scale, hooks, checkpoint);
  } finally {
    input.dispose();
    batches.forEach(disposeBatch);
  }
  for (const [parameter, gradient] of made.gradients) {
    const before = gradients.get(parameter);
    gradients.set(parameter, before ? tf.add(before, gradient) : gradient);
    if (before) tf.dispose([before, gradient]);
  }
  const values = await made.losses.data();
  made.losses.dispose();
  groups.flat().forEach((target, i) => {
    losses.add(targets[target].task, values[i], sum(weights[target]));
  });
}

const labelOptions = ({ settings, florence }: TrainingContext) => ({
  locationWeight: settings.locationWeight,
  tokenizer: florence.tokenizer,
});

function notFinite(step: number, losses: TaskMeans, gradNorm: number, images: StepImage[]): Florence2Error {
  const tasks = Object.entries(losses.byTask).filter(([, loss]) => !Number.isFinite(loss));
  const where = tasks.length > 0 ? ` for ${tasks.map(([task]) => task).join(', ')}` : '';
  return new Florence2Error(
    `Step ${step + 1}: the loss is ${losses.mean}${where} and the norm of the gradients ${gradNorm}. The step's samples: ${images.map(({ source }) => source).join('; ')}. Nothing of this step was kept; try a lower learning rate.`,
  );
}

async function read(scalar: tf.Scalar): Promise<number> {
  const [value] = await scalar.data();
  scalar.dispose();
  return value;
}

const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);
