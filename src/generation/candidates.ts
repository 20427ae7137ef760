import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { hasKernel, topOfRows } from '../nn/kernels.ts';
import type { DecodingSession } from './decoding.ts';
import type { GenerationSettings } from './options.ts';
import { forcedToken } from './processors.ts';

/** A token that may come next. */
export interface Candidate {
  readonly token: number;
  /** Log-softmax of the model's logits; 0 for a forced token, as the reference scores it. */
  readonly logProb: number;
}

/**
 * One decoder step: what may come next in each row, best first. A forced token is the only candidate of its row: its
 * logits are never read, and at the limit, where nothing follows that would need the caches, not even computed.
 *
 * @param generated how many tokens each row has so far, the decoder start token not counted
 * @param tokens [rows], the newest token of each row
 * @param banned for each row the tokens that may not come next
 * @param k how many candidates a row needs; it gets fewer only where fewer are allowed
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
 * The `k` most probable tokens of each row that are not banned there, best first, the lower id first among equals.
 * Banned tokens keep their share of the probability. Only these few numbers leave the device: so many that `k` remain
 * when the banned ones are dropped here, and the sum that makes them probabilities. Disposes `logits` [rows, V].
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
        'The model gave logits that are not finite numbers: its weights or the image hold some.',
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

/** As `topOfRows`. */
function topByParts(logits: tf.Tensor2D, width: number): tf.Tensor2D {
  return tf.tidy(() => {
    const { values, indices } = tf.topk(logits, width); // [rows, width] each
    const highest = values.slice([0, 0], [-1, 1]); // [rows, 1]
    const mass = sumOfRows(tf.exp(tf.sub(logits, highest))); // [rows, 1], of at least 1
    return tf.concat([values, indices.cast('float32'), mass], 1); // ids below 2^24 are exact in float32
  });
}

/**
 * x [rows, n] -> [rows, 1]. Adds by parts, then the parts: wasm adds one by one in float32, which over a vocabulary
 * loses the tail beside the peak.
 */
function sumOfRows(x: tf.Tensor2D): tf.Tensor2D {
  const [rows, n] = x.shape;
  const part = Math.ceil(Math.sqrt(n));
  const parts = tf
    .pad(x, [
      [0, 0],
      [0, part * part - n],
    ])
    .reshape([rows, part, part]); // zeros
  return parts.sum(2).sum(1, true);
}

/** For a row in which nothing may come next: only an n-gram block over a tiny vocabulary leads there. */
export function nothingLeft({ noRepeatNgramSize }: GenerationSettings, generated: number): Florence2Error {
  return new Florence2Error(
    `noRepeatNgramSize ${noRepeatNgramSize} bans every token after ${generated}: raise it, or lower maxNewTokens.`,
  );
}
