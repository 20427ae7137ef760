import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { ActivationCache } from '../activations/cache.ts';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import type { Heatmap } from '../drawing/heatmap.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { Capture } from '../hooks/capture.ts';
import { gradientsAt, PIXELS } from './gradients_at.ts';
import type { RowMetric } from './logit_metrics.ts';
import { forcedLogits, type Question } from './question.ts';

/**
 * How strongly a metric reacts to each pixel: the largest gradient of its three channels, without its sign. Simonyan et
 * al. 2013, https://arxiv.org/abs/1312.6034. The map has the size of the model's input, and lies over the whole image.
 *
 * @throws Florence2Error on wasm, which has no gradients of convolutions
 */
export function inputGradients(model: Florence2, question: Question, metric: RowMetric): Promise<Heatmap> {
  return pixelMap(model, question, metric, gradient => tf.max(tf.abs(gradient), -1));
}

/**
 * Gradient times input, added up over the channels: what each pixel contributes to first order, counted from the mean
 * colour that is zero to the model. Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713.
 *
 * @throws as `inputGradients`
 */
export function gradientTimesInput(model: Florence2, question: Question, metric: RowMetric): Promise<Heatmap> {
  return pixelMap(model, question, metric, gradient => tf.sum(tf.mul(gradient, question.pixels), -1));
}

export interface IntegratedGradientsOptions {
  /** What the image is compared to: one colour, or normalised pixels [1, H, W, 3]. Default `mean`, which is zero to the model. */
  baseline?: 'mean' | 'black' | 'white' | tf.Tensor4D;
  /**
   * Images between the two at which gradients are taken. Default 32. Look at `error`: from an image of one colour the way
   * is steep, and 100 may be needed.
   */
  steps?: number;
  /** How many of them run in one pass. Default 1: gradients need much memory. */
  batchSize?: number;
  onProgress?: (progress: { done: number; total: number }) => void;
  /** Stops between two batches; its reason is thrown. */
  signal?: AbortSignal;
}

export interface IntegratedGradients extends Heatmap {
  /** By how much the metric of the image exceeds that of the baseline: what the map distributes over the pixels. */
  readonly difference: number;
  /** Sum of the map − `difference`, which would be 0 with infinitely many steps. */
  readonly error: number;
}

/**
 * Integrated gradients: the difference between the metric of the image and that of a baseline, distributed over the
 * pixels by the gradients on the straight way between them. Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365.
 * The integral is a Gauss–Legendre sum.
 *
 * @throws as `inputGradients`
 */
export async function integratedGradients(
  model: Florence2,
  question: Question,
  metric: RowMetric,
  { baseline = 'mean', steps = 32, batchSize = 1, onProgress, signal }: IntegratedGradientsOptions = {},
): Promise<IntegratedGradients> {
  for (const [name, value] of Object.entries({ steps, batchSize })) {
    if (!(Number.isSafeInteger(value) && value >= 1))
      throw new UsageError(`${name} must be a whole number, not ${value}.`);
  }
  const [, height, width] = question.pixels.shape;
  const from = baselinePixels(model.preprocessor, baseline, question.pixels.shape);
  const nodes = gaussLegendre(steps);
  let mean: tf.Tensor = tf.zerosLike(question.pixels); // of the gradients along the way
  try {
    for (let done = 0; done < steps; ) {
      signal?.throwIfAborted();
      const batch = nodes.slice(done, done + batchSize);
      const next = tf.tidy(() => tf.add(mean, weightedGradients(model, question, metric, from, batch)));
      mean.dispose();
      mean = next;
      done += batch.length;
      await mean.data(); // so that `signal` and `onProgress` keep step with the work
      onProgress?.({ done, total: steps });
    }
    const [map, ends] = tf.tidy(() => {
      const parts = tf.sum(tf.mul(mean, tf.sub(question.pixels, from)), -1); // [1, H, W]
      const both = tf.concat([question.pixels, from]) as tf.Tensor4D;
      return [parts, metric(forcedLogits(model, question, { pixels: both }), question)];
    });
    const [{ values: data }, { values: metrics }] = await Promise.all([download(map), download(ends)]);
    const difference = metrics[0] - metrics[1];
    return { data, width, height, difference, error: data.reduce((a, b) => a + b, 0) - difference };
  } finally {
    tf.dispose([mean, from]);
  }
}

export interface GradCamOptions {
  /** Stage of DaViT, from 0, whose last map is taken. Default: the last. */
  stage?: number;
  /** Any other point of the vision tower that is a map [B, H, W, C]. */
  at?: string;
}

/**
 * Grad-CAM: where in the image the channels are active on which a metric depends. The map has the resolution of its
 * stage, 1/32 of the input's sides after the last. Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391.
 *
 * @throws Florence2Error on wasm but for the last stage, see `inputGradients`
 */
export async function gradCam(
  model: Florence2,
  question: Question,
  metric: RowMetric,
  { stage = model.config.vision.depths.length - 1, at }: GradCamOptions = {},
): Promise<Heatmap> {
  const { depths } = model.config.vision;
  if (!(stage in depths)) throw new UsageError(`DaViT has the stages 0 to ${depths.length - 1}, not ${stage}.`);
  const point = at ?? `vision_tower.blocks.${stage}.${depths[stage] - 1}.channel_block.hook_resid_post`;
  const activations = new ActivationCache();
  const capture = new Capture(model.hooks, point, activations);
  let gradients: ActivationCache | undefined;
  try {
    gradients = gradientsAt(model, question, metric, point);
    return await heatmapOf(gradCamMap(activations.get(point) as tf.Tensor4D, gradients.get(point) as tf.Tensor4D));
  } finally {
    capture.stop();
    activations.dispose();
    gradients?.dispose();
  }
}

/**
 * Grad-CAM of a map and its gradient, both [1, H, W, C]: ReLU(Σ α A) [H, W], the weight α of a channel being the mean of
 * its gradient over all positions. The caller disposes it.
 */
export function gradCamMap(activation: tf.Tensor4D, gradient: tf.Tensor4D): tf.Tensor2D {
  if (activation.rank !== 4) throw new UsageError(`Grad-CAM is of maps [1, H, W, C], not of [${activation.shape}].`);
  return tf.tidy(() => {
    const weights = tf.mean(gradient, [1, 2], true); // [1, 1, 1, C]
    return tf.squeeze(tf.relu(tf.sum(tf.mul(activation, weights), -1)), [0]);
  });
}

async function pixelMap(
  model: Florence2,
  question: Question,
  metric: RowMetric,
  reduce: (gradient: tf.Tensor) => tf.Tensor,
): Promise<Heatmap> {
  const cache = gradientsAt(model, question, metric, PIXELS);
  try {
    return await heatmapOf(tf.tidy(() => tf.squeeze(reduce(cache.get(PIXELS)), [0])));
  } finally {
    cache.dispose();
  }
}

/** [H, W], which is disposed. */
async function heatmapOf(map: tf.Tensor): Promise<Heatmap> {
  const { values, shape } = await download(map);
  const [height, width] = shape;
  return { data: values, width, height };
}

/** Σ weight · gradient at baseline + place · (image − baseline), [1, H, W, 3] */
function weightedGradients(
  model: Florence2,
  question: Question,
  metric: RowMetric,
  baseline: tf.Tensor4D,
  nodes: readonly QuadratureNode[],
): tf.Tensor {
  const column = (values: number[]) => tf.tensor4d(values, [values.length, 1, 1, 1]);
  const way = tf.sub(question.pixels, baseline);
  const pixels = tf.add(baseline, tf.mul(way, column(nodes.map(({ place }) => place)))) as tf.Tensor4D;
  const cache = gradientsAt(model, question, metric, PIXELS, { pixels });
  const weighted = tf.mul(cache.get(PIXELS), column(nodes.map(({ weight }) => weight)));
  cache.dispose();
  return tf.sum(weighted, 0, true);
}

function baselinePixels(
  { rescaleFactor, imageMean, imageStd }: PreprocessorConfig,
  baseline: IntegratedGradientsOptions['baseline'],
  shape: [number, number, number, number],
): tf.Tensor4D {
  if (baseline === 'mean') return tf.zeros(shape);
  if (baseline === 'black' || baseline === 'white') {
    const level = baseline === 'black' ? 0 : 255;
    const color = imageMean.map((mean, channel) => (level * rescaleFactor - mean) / imageStd[channel]);
    return tf.tidy(() => tf.add(tf.zeros(shape), tf.tensor1d(color)));
  }
  if (!(baseline instanceof tf.Tensor && String(baseline.shape) === String(shape))) {
    throw new UsageError(`A baseline is 'mean', 'black', 'white' or a tensor [${shape}].`);
  }
  return baseline.clone();
}

interface QuadratureNode {
  readonly place: number;
  readonly weight: number;
}

/** Places and weights of a Gauss–Legendre sum over [0, 1]: the roots of the n-th Legendre polynomial, by Newton's method. */
export function gaussLegendre(n: number): QuadratureNode[] {
  return Array.from({ length: n }, (_, i) => {
    let x = Math.cos((Math.PI * (i + 0.75)) / (n + 0.5));
    let slope = 1;
    for (let round = 0; round < 100; round++) {
      let [last, value] = [1, x];
      for (let k = 2; k <= n; k++) [last, value] = [value, ((2 * k - 1) * x * value - (k - 1) * last) / k];
      slope = (n * (x * value - last)) / (x * x - 1);
      const step = value / slope;
      x -= step;
      if (Math.abs(step) < 1e-15) break;
    }
    return { place: (1 - x) / 2, weight: 1 / ((1 - x * x) * slope * slope) };
  });
}
