import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { ActivationCache } from '../activations/cache.ts';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import type { Heatmap } from '../drawing/heatmap.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { Capture } from '../hooks/capture.ts';
import {
  abortSignal,
  anything,
  callback,
  checkKind,
  checkOptions,
  count,
  type OptionTable,
  text,
  whole,
} from '../options.ts';
import { forcedLogits } from './forced_pass.ts';
import { gradientsAt, PIXELS } from './gradients_at.ts';
import type { RowMetric } from './logit_metrics.ts';
import { QUESTION, type Question } from './question.ts';

/**
 * Returns the sensitivity of a metric to each pixel: the largest absolute gradient over the three channels. Simonyan et
 * al. 2013, https://arxiv.org/abs/1312.6034. The map has the resolution of the model's input and covers the whole
 * image.
 *
 * @throws Florence2Error on wasm, which has no gradients of convolutions
 */
export function inputGradients(model: Florence2, question: Question, metric: RowMetric): Promise<Heatmap> {
  return pixelMap(model, question, metric, gradient => tf.max(tf.abs(gradient), -1));
}

/**
 * Returns gradient times input, summed over the channels: the first-order contribution of each pixel, relative to an
 * image of the mean colour (zero after normalisation). Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713.
 *
 * @throws Florence2Error on wasm, which has no gradients of convolutions
 */
export function gradientTimesInput(model: Florence2, question: Question, metric: RowMetric): Promise<Heatmap> {
  return pixelMap(model, question, metric, gradient => tf.sum(tf.mul(gradient, question.pixels), -1));
}

/** Options of `integratedGradients`. */
export interface IntegratedGradientsOptions {
  /**
   * The baseline image: one colour, or normalised pixels [1, H, W, 3]. Default `mean`, which is zero after
   * normalisation.
   */
  baseline?: 'mean' | 'black' | 'white' | tf.Tensor4D;
  /**
   * Number of points on the path from the baseline to the image at which gradients are computed. Default 32. If `error`
   * of the result is too large, use more; baselines of one colour can need 100.
   */
  steps?: number;
  /** Number of points per pass. Default 1, because gradients need much memory. */
  batchSize?: number;
  /** Called after each pass with the number of points done. */
  onProgress?: (progress: { done: number; total: number }) => void;
  /** Stops between two passes; its reason is thrown. */
  signal?: AbortSignal;
  /** Receives a warning if the map's sum misses `difference` by more than 10 %. Default `console.warn`. */
  onWarning?: (message: string) => void;
}

const INTEGRATED: OptionTable<IntegratedGradientsOptions> = {
  baseline: anything,
  ...{ steps: count, batchSize: count, onProgress: callback, signal: abortSignal, onWarning: callback },
};

/** Largest error of integrated gradients without a warning, relative to the difference. */
const MOST_MISSED = 0.1;

/** Errors of this size, relative to the metric, are rounding. */
const ROUNDING = 1e-4;

/** Result of `integratedGradients`. */
export interface IntegratedGradients extends Heatmap {
  /** Metric of the image − metric of the baseline: the amount that the map distributes over the pixels. */
  readonly difference: number;
  /** Sum of the map − `difference`: the error of the numerical integration, which tends to 0 with more steps. */
  readonly error: number;
}

/**
 * Computes integrated gradients: the difference of the metric between the image and a baseline, distributed over the
 * pixels by integrating gradients along the straight path between the two (Gauss–Legendre quadrature). Sundararajan et
 * al. 2017, https://arxiv.org/abs/1703.01365.
 *
 * @throws UsageError for wrong options, Florence2Error on wasm, which has no gradients of convolutions
 */
export async function integratedGradients(
  model: Florence2,
  question: Question,
  metric: RowMetric,
  options: IntegratedGradientsOptions = {},
): Promise<IntegratedGradients> {
  checkKind('question', question, QUESTION);
  checkOptions('integratedGradients', options, INTEGRATED);
  const { baseline = 'mean', steps = 32, batchSize = 1, onProgress, signal, onWarning = console.warn } = options;
  const call = model.withAdapter();
  const [, height, width] = question.pixels.shape;
  const from = call.tidy(() => baselinePixels(call.preprocessor, baseline, question.pixels.shape));
  const nodes = gaussLegendre(steps);
  let mean: tf.Tensor = call.tidy(() => tf.zerosLike(question.pixels)); // of the gradients along the path
  try {
    for (let done = 0; done < steps; ) {
      signal?.throwIfAborted();
      const batch = nodes.slice(done, done + batchSize);
      const next = call.tidy(() => tf.add(mean, weightedGradients(call, question, metric, from, batch)));
      mean.dispose();
      mean = next;
      done += batch.length;
      await mean.data(); // waits for the backend, so that `signal` and `onProgress` follow the computation
      onProgress?.({ done, total: steps });
    }
    const [map, ends] = call.tidy(() => {
      const parts = tf.sum(tf.mul(mean, tf.sub(question.pixels, from)), -1); // [1, H, W]
      const both = tf.concat([question.pixels, from]) as tf.Tensor4D;
      return [parts, metric(forcedLogits(call, question, { pixels: both }), question)];
    });
    const [{ values: data }, { values: metrics }] = await Promise.all([download(map), download(ends)]);
    const difference = metrics[0] - metrics[1];
    const error = data.reduce((a, b) => a + b, 0) - difference;
    if (Math.abs(error) > Math.max(MOST_MISSED * Math.abs(difference), ROUNDING * Math.abs(metrics[0]))) {
      const [sum, want] = [difference + error, difference].map(value => value.toPrecision(3));
      onWarning(
        `The integrated gradients sum to ${sum}, but the metric differs by ${want}: use more than ${steps} steps.`,
      );
    }
    return { data, width, height, difference, error };
  } finally {
    tf.dispose([mean, from]);
  }
}

/** Options of `gradCam`. */
export interface GradCamOptions {
  /** Index of the DaViT stage whose output map is used. Default: the last stage. */
  stage?: number;
  /** Hook point of the vision tower with a map [B, H, W, C], instead of a stage's output. */
  at?: string;
}

/**
 * Computes Grad-CAM: where in the image those channels are active that increase a metric. The map has the resolution of
 * its stage; for the last, 1/32 of the input's sides. Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391.
 *
 * @throws UsageError if the stage or the point does not exist, Florence2Error on wasm for all stages but the last,
 *   whose gradients pass no convolution
 */
export async function gradCam(
  model: Florence2,
  question: Question,
  metric: RowMetric,
  options: GradCamOptions = {},
): Promise<Heatmap> {
  checkOptions('gradCam', options, { stage: whole, at: text });
  const { stage = model.config.vision.depths.length - 1, at } = options;
  const { depths } = model.config.vision;
  if (!(stage in depths))
    throw new UsageError(`Stage ${stage} does not exist; DaViT has stages 0 to ${depths.length - 1}.`);
  const point = at ?? `vision_tower.blocks.${stage}.${depths[stage] - 1}.channel_block.hook_resid_post`;
  const activations = new ActivationCache();
  const { hook } = new Capture(point, activations);
  let gradients: ActivationCache | undefined;
  try {
    gradients = gradientsAt(model.withHooks([hook]), question, metric, point);
    const [activation, gradient] = [activations, gradients].map(cache => cache.get(point) as tf.Tensor4D);
    return await heatmapOf(model.tidy(() => gradCamMap(activation, gradient)));
  } finally {
    activations.dispose();
    gradients?.dispose();
  }
}

/**
 * Computes Grad-CAM from a map and its gradient, both [1, H, W, C]: ReLU(Σ α A) [H, W], where the weight α of a channel
 * is the mean of its gradient over all positions. The caller disposes the result.
 *
 * @throws UsageError if the activation is not a map
 */
export function gradCamMap(activation: tf.Tensor4D, gradient: tf.Tensor4D): tf.Tensor2D {
  if (activation.rank !== 4) throw new UsageError(`Grad-CAM needs a map [1, H, W, C], not [${activation.shape}].`);
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
    return await heatmapOf(model.tidy(() => tf.squeeze(reduce(cache.get(PIXELS)), [0])));
  } finally {
    cache.dispose();
  }
}

/** Downloads and disposes a map [H, W]. */
async function heatmapOf(map: tf.Tensor): Promise<Heatmap> {
  const { values, shape } = await download(map);
  const [height, width] = shape;
  return { data: values, width, height };
}

/** Returns Σ weight · gradient at baseline + place · (image − baseline): [1, H, W, 3]. */
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
    throw new UsageError(`baseline must be 'mean', 'black', 'white' or a tensor [${shape}].`);
  }
  return baseline.clone();
}

interface QuadratureNode {
  readonly place: number;
  readonly weight: number;
}

/** Returns the n nodes of Gauss–Legendre quadrature on [0, 1]: Legendre polynomial roots, found by Newton's method. */
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
