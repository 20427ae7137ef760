import type * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { noHooks } from '../hooks/hooks.ts';
import { anything, checkOptions, count, listOf } from '../options.ts';
import { captureForced, forcedLogits } from './forced_pass.ts';
import { type Prediction, readPredictions } from './predictions.ts';
import type { Question } from './question.ts';

/** A decoder layer, from 0, or the input of the first layer: token and position embeddings after their norm. */
export type LensLayer = number | 'embedding';

/** Options of `logitLens`. */
export interface LensOptions {
  /** Layers to read. Default: the embedding and all decoder layers. */
  layers?: readonly LensLayer[];
  /** Number of most probable tokens to return per position. Default 5. */
  top?: number;
}

/** The predictions read from one layer's output. */
export interface LensReading {
  /** The layer that was read. */
  layer: LensLayer;
  /** One per position of the answer [T]. */
  predictions: Prediction[];
}

/**
 * Applies the logit lens to the decoder: for every position of the answer, the predictions that the model would make if
 * a layer were its last. nostalgebraist 2020,
 * https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens.
 *
 * The head and its bias are applied directly to each layer's output. Pre-norm models have a final norm before the head,
 * which a lens must apply too. BART is post-norm: every layer ends with a norm (`final_layer_norm`), so its output is
 * already in the form that the head reads. The lens of the last layer equals the model's own prediction.
 *
 * @returns one reading per layer, in the order of `layers`
 * @throws UsageError for layers that do not exist
 */
export async function logitLens(
  model: Florence2,
  question: Question,
  options: LensOptions = {},
): Promise<LensReading[]> {
  checkOptions('logitLens', options, { layers: listOf(anything, 'layers'), top: count });
  const { layers = lensLayers(model), top = 5 } = options;
  const call = model.withAdapter();
  const points = layers.map(layer => lensPoint(call, layer));
  const cache = captureForced(call, question, points);
  try {
    const readings: LensReading[] = [];
    for (const [i, layer] of layers.entries()) {
      const logits = lensLogits(call, cache.get(points[i]) as tf.Tensor3D);
      readings.push({ layer, predictions: await readPredictions(logits, question.answerIds, top, call.tokenizer) });
    }
    return readings;
  } finally {
    cache.dispose();
  }
}

/**
 * Applies the head to hidden states [rows, T, D] of any decoder layer: logits [rows, T, V]. The caller disposes them.
 */
export function lensLogits({ model, adaptation }: Florence2, hidden: tf.Tensor3D): tf.Tensor3D {
  return model.compute(() => model.lmHead.forward(hidden, noHooks), adaptation);
}

/**
 * Returns the model's prediction at every position of the answer, with the most probable alternatives. Probabilities
 * are the model's own, before the tokens that generation forces or bans.
 *
 * @param options.top number of most probable tokens per position. Default 5
 */
export async function alternatives(
  model: Florence2,
  question: Question,
  options: Pick<LensOptions, 'top'> = {},
): Promise<Prediction[]> {
  checkOptions('alternatives', options, { top: count });
  const { top = 5 } = options;
  return readPredictions(forcedLogits(model, question), question.answerIds, top, model.tokenizer);
}

const lensLayers = ({ config }: Florence2): LensLayer[] => ['embedding', ...Array(config.text.decoderLayers).keys()];

function lensPoint({ config }: Florence2, layer: LensLayer): string {
  if (layer === 'embedding') return 'language_model.decoder.layers.0.hook_resid_pre';
  if (!(Number.isInteger(layer) && layer >= 0 && layer < config.text.decoderLayers)) {
    throw new UsageError(
      `Layer ${layer} does not exist; the lens reads layers 0 to ${config.text.decoderLayers - 1} and 'embedding'.`,
    );
  }
  return `language_model.decoder.layers.${layer}.hook_resid_post`;
}
