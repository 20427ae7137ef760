import type * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { noHooks } from '../hooks/hooks.ts';
import { type Prediction, readPredictions } from './predictions.ts';
import { captureForced, forcedLogits, type Question } from './question.ts';

/** A layer of the decoder, or what goes into the first: embedded tokens and positions, normalised. */
export type LensLayer = number | 'embedding';

export interface LensOptions {
  /** Default: the embedding and all layers. */
  layers?: readonly LensLayer[];
  /** How many of the most probable tokens. Default 5. */
  top?: number;
}

/** What one layer's output says by itself. */
export interface LensReading {
  layer: LensLayer;
  /** For each position of the answer. */
  predictions: Prediction[];
}

/**
 * Logit lens over the decoder: what the model would say if it ended at a layer, for every position of the answer.
 * nostalgebraist 2020, https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens.
 *
 * The head and its bias are applied to each layer's output as it is. In models of pre-norm blocks the head reads through
 * a final norm, and so must the lens; BART is post-norm, each block ends in its own norm (`final_layer_norm`), and what
 * comes out of any layer has the form that the head is used to. There is no further norm to apply, and the lens of the
 * last layer is what the model says.
 */
export async function logitLens(
  model: Florence2,
  question: Question,
  { layers = lensLayers(model), top = 5 }: LensOptions = {},
): Promise<LensReading[]> {
  const points = layers.map(layer => lensPoint(model, layer));
  const cache = captureForced(model, question, points);
  try {
    const readings: LensReading[] = [];
    for (const [i, layer] of layers.entries()) {
      const logits = lensLogits(model, cache.get(points[i]) as tf.Tensor3D);
      readings.push({ layer, predictions: await readPredictions(logits, question.answerIds, top, model.tokenizer) });
    }
    return readings;
  } finally {
    cache.dispose();
  }
}

/** Hidden states of any decoder layer [rows, T, D] through the head: logits [rows, T, V]. The caller disposes them. */
export function lensLogits({ model }: Florence2, hidden: tf.Tensor3D): tf.Tensor3D {
  return model.lmHead.forward(hidden, noHooks);
}

/**
 * What the model says at every position of the answer, and what else it might have said: its own probabilities, before
 * anything that a generation forces or bans.
 */
export async function alternatives(
  model: Florence2,
  question: Question,
  { top = 5 }: { top?: number } = {},
): Promise<Prediction[]> {
  return readPredictions(forcedLogits(model, question), question.answerIds, top, model.tokenizer);
}

const lensLayers = ({ config }: Florence2): LensLayer[] => ['embedding', ...Array(config.text.decoderLayers).keys()];

function lensPoint({ config }: Florence2, layer: LensLayer): string {
  if (layer === 'embedding') return 'language_model.decoder.layers.0.hook_resid_pre';
  if (!(Number.isInteger(layer) && layer >= 0 && layer < config.text.decoderLayers)) {
    throw new UsageError(`The decoder has layers 0 to ${config.text.decoderLayers - 1} and 'embedding', not ${layer}.`);
  }
  return `language_model.decoder.layers.${layer}.hook_resid_post`;
}
