import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { LayerNorm } from '../nn/layers.ts';
import { lensLogits } from './logit_lens.ts';
import { captureForced, type Question } from './question.ts';

/** What the last layer's parts add to one logit. They sum to it. */
export interface LogitParts {
  /** What the residual stream brings to the MLP: everything before. */
  resid_mid_cross: number;
  /** What the MLP writes. */
  mlp_out: number;
  /** The bias of the last norm, the same for every answer. */
  norm_bias: number;
  /** `final_logits_bias`, zero in all published checkpoints. */
  logits_bias: number;
}

export interface LogitAttribution {
  token: number;
  text: string;
  logit: number;
  parts: LogitParts;
}

/**
 * Direct attribution of one logit at every position to the two sides of the decoder's last sum,
 * `logits = head(norm(resid_mid_cross + mlp_out))`.
 *
 * A layer norm is linear but for the deviation that it divides by. With that held as it is, the logit is a sum, and this
 * splits it exactly. Nothing deeper is offered: post-norm blocks have no residual stream that runs through to the head.
 * `resid_mid_cross` has come out of the norm after cross-attention, which has divided the sum of stream and attention by a
 * deviation of its own (as every norm before it has), and on its way the MLP, which is not linear, has read it. A head of
 * cross-attention therefore has no share in the logit that were its own; ablate or patch it to see what it does.
 *
 * @param tokens whose logits, one for each position. Default: the answer's
 */
export async function lastLayerAttribution(
  model: Florence2,
  question: Question,
  { tokens = question.answerIds }: { tokens?: readonly number[] } = {},
): Promise<LogitAttribution[]> {
  const T = question.answerIds.length;
  const V = model.config.text.vocabSize;
  if (tokens.length !== T) throw new UsageError(`There are ${tokens.length} tokens for an answer of ${T} positions.`);
  const wrong = tokens.find(token => !(Number.isInteger(token) && token >= 0 && token < V));
  if (wrong !== undefined) throw new UsageError(`The vocabulary has ids 0 to ${V - 1}, not ${wrong}.`);

  const last = `language_model.decoder.layers.${model.config.text.decoderLayers - 1}`;
  const points = [`${last}.hook_resid_mid_cross`, `${last}.hook_mlp_out`, 'hook_logits'];
  const cache = captureForced(model, question, points);
  try {
    const rows = tf.tidy(() => {
      const [stream, mlp, logits] = points.map(point => cache.get(point) as tf.Tensor3D); // [1, T, D], logits [1, T, V]
      const parts = lensLogits(model, tf.concat(throughNorm(model, stream, mlp))); // [4, T, V], each with the head's bias
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

/** The last norm of a sum, as a sum: its two sides, its bias, and zeros. [1, T, D] each */
function throughNorm({ model }: Florence2, a: tf.Tensor3D, b: tf.Tensor3D): tf.Tensor3D[] {
  const { weight, bias } = model.languageModel.decoder.layers.at(-1)!.finalLayerNorm;
  const centred = (x: tf.Tensor3D) => tf.sub(x, tf.mean(x, -1, true)) as tf.Tensor3D;
  const variance = tf.mean(tf.square(centred(tf.add(a, b))), -1, true); // [1, T, 1]
  const scale = tf.mul(tf.rsqrt(tf.add(variance, LayerNorm.EPS)), weight.value); // [1, T, D]
  const zeros = tf.zerosLike(a);
  return [tf.mul(centred(a), scale), tf.mul(centred(b), scale), tf.add(zeros, bias.value), zeros];
}
