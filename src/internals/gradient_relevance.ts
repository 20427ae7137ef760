import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import type { ActivationCache } from '../activations/cache.ts';
import type { Florence2 } from '../florence2.ts';
import { attentionLabels } from './attention_labels.ts';
import { type AttentionKind, type AttentionMap, attentionPoints } from './attention_maps.ts';
import { captureForced } from './forced_pass.ts';
import { gradientsAt } from './gradients_at.ts';
import type { Metric } from './logit_metrics.ts';
import type { Question } from './question.ts';

/**
 * Computes how relevant each position of image and prompt is to a metric, for each token of the answer, from attention
 * weights and their gradients: the rules for encoder-decoder models of Chefer et al. 2021,
 * https://arxiv.org/abs/2103.15679, sec. 3. Unlike `tokenRelevance` it depends on the metric, and it includes the
 * dependence through earlier tokens.
 *
 * Read the row of the token that the metric is about: for `logitOf(t, token)` row t. The values are at least 0 and do
 * not sum to 1. Values, MLPs and norms enter through the gradients only.
 *
 * @returns a map [T, S] of kind `relevance`, with labels
 * @throws Florence2Error if the backend lacks a gradient
 */
export async function gradientRelevance(model: Florence2, question: Question, metric: Metric): Promise<AttentionMap> {
  const call = model.withAdapter();
  const points = (['encoder', 'decoder', 'cross'] as const).flatMap(kind => attentionPoints(kind));
  const patterns = captureForced(call, question, points);
  let gradients: ActivationCache | undefined;
  try {
    const slopes = gradientsAt(call, question, metric, points);
    gradients = slopes;
    const { encoderLayers, decoderLayers } = call.config.text;
    const product = call.tidy(() => {
      const layersOf = (kind: Exclude<AttentionKind, 'window'>, count: number) =>
        Array.from({ length: count }, (_, layer) => {
          const [point] = attentionPoints(kind, layer);
          return positiveMean(patterns.get(point), slopes.get(point));
        });
      return relevance(
        layersOf('encoder', encoderLayers),
        layersOf('decoder', decoderLayers),
        layersOf('cross', decoderLayers),
      );
    });
    const { values, shape } = await download(product);
    const { said: queries, positions: keys, grid } = attentionLabels(call, question);
    return { kind: 'relevance', layer: 'all', values, shape, queries: [...queries], keys: [...keys], grid };
  } finally {
    patterns.dispose();
    gradients?.dispose();
  }
}

/** Eq. 5: weights and their gradients, both [1, heads, queries, keys] -> mean over the heads of (∇A ⊙ A)⁺ */
function positiveMean(weights: tf.Tensor, gradients: tf.Tensor): tf.Tensor2D {
  return tf.mean(tf.squeeze(tf.relu(tf.mul(weights, gradients)), [0]), 0) as tf.Tensor2D;
}

/** Ā of each layer -> relevance [T, S] of the encoder's positions for the decoder's */
function relevance(
  encoder: readonly tf.Tensor2D[],
  decoder: readonly tf.Tensor2D[],
  cross: readonly tf.Tensor2D[],
): tf.Tensor2D {
  const [T, S] = cross[0].shape;
  const ofInput = encoder.reduce((R, A) => tf.add(R, tf.matMul(A, R)), tf.eye(S)); // eq. 6
  const input = normalised(ofInput);
  let ofAnswer: tf.Tensor2D = tf.eye(T);
  let mixed: tf.Tensor2D = tf.zeros([T, S]);
  decoder.forEach((A, layer) => {
    [ofAnswer, mixed] = [tf.add(ofAnswer, tf.matMul(A, ofAnswer)), tf.add(mixed, tf.matMul(A, mixed))]; // eq. 6 and 7
    const read = tf.matMul(cross[layer], input);
    mixed = tf.add(mixed, tf.matMul(normalised(ofAnswer), read, true)); // eq. 10
  });
  return mixed;
}

/** Eq. 8 and 9: divides each row of R − I by its sum, rows of zeros excepted, and adds I again. */
function normalised(R: tf.Tensor2D): tf.Tensor2D {
  const identity = tf.eye(R.shape[0]);
  const rest = tf.sub(R, identity);
  return tf.add(tf.divNoNan(rest, tf.sum(rest, 1, true)), identity);
}
