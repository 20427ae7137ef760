import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { hasKernel, topOfRows } from '../nn/kernels.ts';
import type { DecodingSession } from './decoding.ts';
import type { GenerationSettings } from './options.ts';
import { forcedToken } from './processors.ts';

/** A possible next token. */
export interface Candidate {
  readonly token: number;
  /** Log-softmax of the model's logits; 0 for a forced token, as in the reference. */
  readonly logProb: number;
}

/**
 * Runs one decoder step and returns the candidates of each row, best first. A forced token is the only candidate of its
 * row. Its logits are not read, and at the limit of `maxNewTokens` not even computed.
 *
 * @param generated number of tokens in each row, without the decoder start token
 * @param tokens [rows], the newest token of each row
 * @param banned banned next tokens of each row
 * @param k number of candidates per row; a row has fewer only if fewer tokens are allowed
 */
export async function nextCandidates(
  session: DecodingSession,
  settings: GenerationSettings,
  generated: number,
  tokens: readonly number[],
  banned: readonly (readonly number[])[],
  k: number,
): Promise<Candidate[][]> {
  const forced = forcedToken(settings, generated);
  if (forced === undefined) return topCandidates(session.step(Int32Array.from(tokens)), banned, k);
  if (generated + 1 < settings.maxNewTokens) session.step(Int32Array.from(tokens)).dispose();
  return tokens.map(() => [{ token: forced, logProb: 0 }]);
}

/**
 * Returns the `k` most probable tokens of each row that are not banned, best first (ties: lower id first). Banned
 * tokens keep their share of the probability. Disposes `logits` [rows, V].
 *
 * Only the top logits of each row, enough for `k` after the banned ones are dropped, and the sum that normalises them
 * are downloaded from the device.
 */
export async function topCandidates(
  logits: tf.Tensor2D,
  banned: readonly (readonly number[])[],
  k: number,
): Promise<Candidate[][]> {
  const [, vocabSize] = logits.shape;
  const width = Math.min(vocabSize, k + Math.max(...banned.map(tokens => tokens.length)));
  const packed = hasKernel('TopOfRows') ? topOfRows(logits, width) : topByParts(logits, width); // one download
  logits.dispose();
  let numbers: Float32Array;
  try {
    numbers = (await packed.data()) as Float32Array;
  } finally {
    packed.dispose();
  }
  return banned.map((forbidden, row) => {
    const at = row * (2 * width + 1);
    const normaliser = numbers[at] + Math.log(numbers[at + 2 * width]);
    if (!Number.isFinite(normaliser)) {
      throw new Florence2Error(
        'The model returned logits that are not finite: its weights or the image contain such numbers.',
      );
    }
    const candidates: Candidate[] = [];
    for (let i = at; i < at + width && candidates.length < k; i++) {
      const token = numbers[i + width];
      const logProb = numbers[i] - normaliser;
      if (logProb > -Infinity && !forbidden.includes(token)) candidates.push({ token, logProb });
    }
    return candidates;
  });
}

/** Like `topOfRows`, with tfjs's operations. */
function topByParts(logits: tf.Tensor2D, width: number): tf.Tensor2D {
  return tf.tidy(() => {
    const { values, indices } = tf.topk(logits, width); // [rows, width] each
    const highest = values.slice([0, 0], [-1, 1]); // [rows, 1]
    const mass = sumOfRows(tf.exp(tf.sub(logits, highest))); // [rows, 1], of at least 1
    return tf.concat([values, indices.cast('float32'), mass], 1); // ids below 2^24 are exact in float32
  });
}

/**
 * Sums each row of x [rows, n] -> [rows, 1]. It sums parts first: wasm adds sequentially in float32, which over a whole
 * vocabulary loses the small terms.
 */
function sumOfRows(x: tf.Tensor2D): tf.Tensor2D {
  const [rows, n] = x.shape;
  const part = Math.ceil(Math.sqrt(n));
  const parts = tf
    .pad(x, [
      [0, 0],
      [0, part * part - n],
    ])
    .reshape([rows, part, part]);
  return parts.sum(2).sum(1, true);
}

/** Returns the error for a row without candidates. Only an n-gram block over a tiny vocabulary causes it. */
export function nothingLeft({ noRepeatNgramSize }: GenerationSettings, generated: number): Florence2Error {
  return new Florence2Error(
    `noRepeatNgramSize ${noRepeatNgramSize} bans every token after ${generated}. Raise it, or lower maxNewTokens.`,
  );
}
