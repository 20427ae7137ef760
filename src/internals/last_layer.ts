import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { LayerNorm } from '../nn/layers.ts';
import { checkKind, checkOptions, listOf, whole } from '../options.ts';
import { captureForced } from './forced_pass.ts';
import { lensLogits } from './logit_lens.ts';
import { QUESTION, type Question } from './question.ts';

/** The contributions of the decoder's last layer to one logit, which sum to the logit. */
export interface LogitParts {
  /** Contribution of the residual stream before the MLP, which holds everything that earlier layers computed. */
  resid_mid_cross: number;
  /** Contribution of the MLP's output. */
  mlp_out: number;
  /** Contribution of the last norm's bias, which is the same for every input. */
  norm_bias: number;
  /** The token's `final_logits_bias`, which is zero in all published checkpoints. */
  logits_bias: number;
}

/** One logit and its contributions. */
export interface LogitAttribution {
  /** Id of the token whose logit this is. */
  token: number;
  /** The token as text. */
  text: string;
  /** The model's logit. */
  logit: number;
  /** Contributions to the logit. */
  parts: LogitParts;
}

/**
 * Attributes one logit per answer position to the two terms of the decoder's last sum,
 * `logits = head(norm(resid_mid_cross + mlp_out))`.
 *
 * A layer norm is linear except for the division by the standard deviation. With the deviation fixed at its actual
 * value, the logit is a sum, and this splits it exactly.
 *
 * The attribution does not go deeper than the last sum, because post-norm blocks have no residual stream that reaches
 * the head unchanged. `resid_mid_cross` is the output of the norm after cross-attention, which divided the sum of
 * stream and attention by its own deviation, and it is also the input of the non-linear MLP. A cross-attention head
 * therefore has no exact share of the logit; ablate or patch the head to measure its effect.
 *
 * @param options.tokens ids of the tokens to attribute, one per position. Default: the answer's tokens
 * @returns one attribution per position [T]
 * @throws UsageError if the number of tokens differs from T, or an id is outside the vocabulary
 */
export async function lastLayerAttribution(
  model: Florence2,
  question: Question,
  options: { tokens?: readonly number[] } = {},
): Promise<LogitAttribution[]> {
  checkKind('question', question, QUESTION);
  checkOptions('lastLayerAttribution', options, { tokens: listOf(whole, 'token ids') });
  const { tokens = question.answerIds } = options;
  const T = question.answerIds.length;
  const V = model.config.text.vocabSize;
  if (tokens.length !== T)
    throw new UsageError(`tokens must have one id per position of the answer: ${T}, not ${tokens.length}.`);
  const wrong = tokens.find(token => token >= V);
  if (wrong !== undefined) throw new UsageError(`Token id ${wrong} does not exist; ids are 0 to ${V - 1}.`);

  const last = `language_model.decoder.layers.${model.config.text.decoderLayers - 1}`;
  const points = [`${last}.hook_resid_mid_cross`, `${last}.hook_mlp_out`, 'hook_logits'];
  const cache = captureForced(model, question, points);
  try {
    const rows = model.tidy(() => {
      const [stream, mlp, logits] = points.map(point => cache.get(point) as tf.Tensor3D); // [1, T, D], logits [1, T, V]
      const parts = lensLogits(model, tf.concat(throughNorm(model, stream, mlp))); // [4, T, V], each with bias
      return tf.concat([parts, logits]); // [5, T, V]
    });
    const { values } = await download(rows);
    return tokens.map((token, t) => {
      const [stream, mlp, norm, zero, logit] = [0, 1, 2, 3, 4].map(row => values[(row * T + t) * V + token]);
      const parts = {
        resid_mid_cross: stream - zero,
        mlp_out: mlp - zero,
        norm_bias: norm - zero,
        logits_bias: zero,
      };
      return { token, text: model.tokenizer.tokenTexts([token])[0], logit, parts };
    });
  } finally {
    cache.dispose();
  }
}

/** Splits the last norm of a + b into terms [1, T, D] that sum to it: those of a and b, the bias, and zeros. */
function throughNorm({ model }: Florence2, a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D[] {
  const { weight, bias } = model.languageModel.decoder.layers.at(-1)!.finalLayerNorm;
  const centred = (x: tf.Tensor3D) => tf.sub(x, tf.mean(x, -1, true)) as tf.Tensor3D;
  const variance = tf.mean(tf.square(centred(tf.add(a, b))), -1, true); // [1, T, 1]
  const scale = tf.mul(tf.rsqrt(tf.add(variance, LayerNorm.EPS)), weight.value); // [1, T, D]
  const zeros = tf.zerosLike(a);
  return [tf.mul(centred(a), scale), tf.mul(centred(b), scale), tf.add(zeros, bias.value), zeros];
}
