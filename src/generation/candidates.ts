import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { hasKernel, type Neighbourhood, topOfRows } from '../nn/kernels.ts';
import type { LocationTokens } from '../text/locations.ts';
import type { DecodingSession } from './decoding.ts';
import type { GenerationSettings } from './options.ts';
import { forcedToken } from './processors.ts';

/**
 * Location bins on each side of a bin that count as near it: 2 % of the image's width or height. The probability of a
 * coordinate is spread over neighbouring bins.
 */
export const NEARBY_BINS = 20;

/** A possible next token. */
export interface Candidate {
  readonly token: number;
  /** Log-softmax of the model's logits; 0 for a forced token, as in the reference. */
  readonly logProb: number;
  /**
   * Probability of the token; for a location token, of the location tokens within `NEARBY_BINS` bins. 1 for a forced
   * token.
   */
  readonly nearbyProb: number;
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
  if (forced === undefined) return topCandidates(session.step(Int32Array.from(tokens)), banned, k, settings.locations);
  if (generated + 1 < settings.maxNewTokens) session.step(Int32Array.from(tokens)).dispose();
  return tokens.map(() => [{ token: forced, logProb: 0, nearbyProb: 1 }]);
}

/**
 * Returns the `k` most probable tokens of each row that are not banned, best first (ties: lower id first). Banned
 * tokens keep their share of the probability. Disposes `logits` [rows, V].
 *
 * Only the top logits of each row, enough for `k` after the banned ones are dropped, and the sum that normalises them
 * are downloaded from the device.
 *
 * @param locations ids of the location tokens. Default: none of the tokens is one
 */
export async function topCandidates(
  logits: tf.Tensor2D,
  banned: readonly (readonly number[])[],
  k: number,
  locations: LocationTokens = { first: 0, count: 0 },
): Promise<Candidate[][]> {
  const [, vocabSize] = logits.shape;
  const width = Math.min(vocabSize, k + Math.max(...banned.map(tokens => tokens.length)));
  const topK = hasKernel('TopOfRows') ? topOfRows : topByParts;
  const packed = topK(logits, width, { ...locations, radius: NEARBY_BINS }); // one download
  logits.dispose();
  let numbers: Float32Array;
  try {
    numbers = (await packed.data()) as Float32Array;
  } finally {
    packed.dispose();
  }
  return banned.map((forbidden, row) => {
    const at = row * (3 * width + 1);
    const total = numbers[at + 3 * width];
    const normaliser = numbers[at] + Math.log(total);
    if (!Number.isFinite(normaliser)) {
      throw new Florence2Error(
        'The model returned logits that are not finite: its weights or the image contain such numbers.',
      );
    }
    const candidates: Candidate[] = [];
    for (let i = at; i < at + width && candidates.length < k; i++) {
      const token = numbers[i + width];
      const logProb = numbers[i] - normaliser;
      if (logProb === -Infinity || forbidden.includes(token)) continue;
      candidates.push({ token, logProb, nearbyProb: numbers[i + 2 * width] / total });
    }
    return candidates;
  });
}

/** Like `topOfRows`, with tfjs's operations. */
function topByParts(logits: tf.Tensor2D, width: number, neighbourhood: Neighbourhood): tf.Tensor2D {
  return tf.tidy(() => {
    const { values, indices } = tf.topk(logits, width) as { values: tf.Tensor2D; indices: tf.Tensor2D }; // [rows, width] each
    const highest = values.slice([0, 0], [-1, 1]); // [rows, 1]
    const powers = tf.exp(tf.sub(logits, highest)) as tf.Tensor2D; // [rows, V]
    const nearby = sumOfNeighbours(powers, indices, neighbourhood); // [rows, width]
    const mass = sumOfRows(powers); // [rows, 1], of at least 1
    return tf.concat([values, indices.cast('float32'), nearby, mass], 1); // ids below 2^24 are exact in float32
  });
}

/**
 * Sums x [rows, n] over the neighbours of each index [rows, k] -> [rows, k]. Clips indices as float32 and gathers from
 * one axis, because wasm returns wrong values for int32 and for batches.
 */
function sumOfNeighbours(x: tf.Tensor2D, indices: tf.Tensor2D, { first, count, radius }: Neighbourhood): tf.Tensor2D {
  const [rows, n] = x.shape;
  const end = Math.min(first + count, n);
  const isInside = (at: tf.Tensor) => tf.logicalAnd(tf.greaterEqual(at, first), tf.less(at, end));
  const centre = tf.expandDims(indices.cast('float32'), 2); // [rows, k, 1]
  const window = tf.add(centre, tf.range(-radius, radius + 1)); // [rows, k, 2 radius + 1]
  const isNear = tf.logicalOr(tf.logicalAnd(isInside(centre), isInside(window)), tf.equal(window, centre));
  const starts = tf.range(0, rows * n, n, 'int32').reshape([rows, 1, 1]);
  const places = tf.add(tf.clipByValue(window, 0, n - 1).cast('int32'), starts);
  return tf.sum(tf.mul(tf.gather(x.flatten(), places), isNear.cast('float32')), 2);
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
