import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { hasKernel, type Neighbourhood, topOfRows } from '../nn/kernels.ts';
import { onBackendOf } from '../nn/on_backend.ts';
import type { LocationTokens } from '../text/locations.ts';
import type { DecodingSession } from './decoding.ts';
import { type GenerationSettings, rowsPerItem } from './options.ts';
import { forcedToken, type Processors } from './processors.ts';
import { highestIndices, keepProbable, withGumbelNoise } from './sampling.ts';

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
  /** What searches add up: `logProb`, after the processors of scores. */
  readonly score: number;
  /** What searches choose by: `score`, when sampling with noise. */
  readonly priority: number;
}

/**
 * Runs one decoder step and returns the candidates of each row, best first. A forced token is the only candidate of its
 * row. Its logits are not read, and at the limit of `maxNewTokens` not even computed.
 *
 * @param generated number of tokens in each row, without the decoder start token
 * @param tokens [rows], the newest token of each row
 * @param processors [rows], the processors of each row's sequence
 * @param k number of candidates per row; a row has fewer only if fewer tokens are allowed
 */
export async function nextCandidates(
  session: DecodingSession,
  settings: GenerationSettings,
  generated: number,
  tokens: readonly number[],
  processors: readonly Processors[],
  k: number,
): Promise<Candidate[][]> {
  const forced = forcedToken(settings, generated);
  if (forced !== undefined) {
    if (generated + 1 < settings.maxNewTokens) session.step(Int32Array.from(tokens)).dispose();
    return tokens.map(() => [{ token: forced, logProb: 0, nearbyProb: 1, score: 0, priority: 0 }]);
  }
  const logits = session.step(Int32Array.from(tokens));
  if (processors.some(row => row.changesScores)) return processedCandidates(logits, settings, generated, processors, k);
  const banned = processors.map(row => row.banned());
  return topCandidates(logits, banned, k, settings.locations);
}

/**
 * Returns the `k` most probable tokens of each row that are not banned, best first (ties: lower id first). Banned
 * tokens keep their share of the probability. Disposes `logits` [rows, V].
 *
 * Only the top logits of each row, enough for `k` after the banned ones are dropped, and what normalises them are
 * downloaded from the device; without our kernel also the location tokens.
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
  const neighbourhood = { ...locations, radius: NEARBY_BINS };
  let numbers: Float32Array; // [rows, 3 width + 1], see topOfRows
  try {
    numbers = await onBackendOf(logits, () =>
      hasKernel('TopOfRows')
        ? download(topOfRows(logits, width, neighbourhood))
        : topByParts(logits, width, neighbourhood),
    );
  } finally {
    logits.dispose();
  }
  return banned.map((tokens, row) => {
    const forbidden = new Set(tokens);
    const at = row * (3 * width + 1);
    const total = numbers[at + 3 * width];
    const normaliser = numbers[at] + Math.log(total);
    if (!Number.isFinite(normaliser)) throw notFinite();
    const candidates: Candidate[] = [];
    for (let i = at; i < at + width && candidates.length < k; i++) {
      const token = numbers[i + width];
      const logProb = numbers[i] - normaliser;
      if (logProb === -Infinity || forbidden.has(token)) continue;
      const nearbyProb = numbers[i + 2 * width] / total;
      candidates.push({ token, logProb, nearbyProb, score: logProb, priority: logProb });
    }
    return candidates;
  });
}

/**
 * The same for rows whose scores are processed: downloads the logits of the whole vocabulary. The scores of beams start
 * from log-probabilities, those of single sequences from logits, as in the reference. Disposes `logits` [rows, V].
 */
async function processedCandidates(
  logits: tf.Tensor2D,
  settings: GenerationSettings,
  generated: number,
  processors: readonly Processors[],
  k: number,
): Promise<Candidate[][]> {
  const [, vocabSize] = logits.shape;
  const numbers = await download(logits);
  const { doSample, seed, numBeams, locations = { first: 0, count: 0 } } = settings;
  return processors.map((row, i) => {
    const raw = numbers.subarray(i * vocabSize, (i + 1) * vocabSize);
    const normaliser = logSumExp(raw);
    if (!Number.isFinite(normaliser)) throw notFinite();
    const scores = numBeams > 1 ? raw.map(logit => logit - normaliser) : raw.slice();
    row.process(scores);
    if (doSample) keepProbable(scores, settings);
    const priorities = doSample ? withGumbelNoise(scores, seed, generated, i % rowsPerItem(settings)) : scores;
    return highestIndices(priorities, k).map(token => {
      const near = raw.subarray(...neighbours(token, vocabSize, locations));
      return {
        token,
        logProb: raw[token] - normaliser,
        nearbyProb: near.reduce((sum, logit) => sum + Math.exp(logit - normaliser), 0),
        score: scores[token],
        priority: priorities[token],
      };
    });
  });
}

/** Returns the first and the last index, exclusive, of the tokens that count as near a token. */
function neighbours(token: number, vocabSize: number, { first, count }: LocationTokens): [number, number] {
  const end = Math.min(first + count, vocabSize);
  if (token < first || token >= end) return [token, token + 1];
  return [Math.max(first, token - NEARBY_BINS), Math.min(end, token + NEARBY_BINS + 1)];
}

function logSumExp(x: Float32Array): number {
  let highest = -Infinity; // loops: on whole vocabularies callbacks take twice as long
  for (let i = 0; i < x.length; i++) if (!(x[i] <= highest)) highest = x[i];
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += Math.exp(x[i] - highest);
  return highest + Math.log(sum);
}

const notFinite = (): Florence2Error =>
  new Florence2Error('The model returned logits that are not finite: its weights or the image contain such numbers.');

async function download(packed: tf.Tensor2D): Promise<Float32Array> {
  try {
    return (await packed.data()) as Float32Array;
  } finally {
    packed.dispose();
  }
}

/**
 * Like `topOfRows`, with tfjs's operations. Downloads the powers of the whole neighbourhood and sums neighbours here: a
 * dozen operations on small tensors would take longer.
 */
async function topByParts(logits: tf.Tensor2D, width: number, neighbourhood: Neighbourhood): Promise<Float32Array> {
  const [rows, n] = logits.shape;
  const { first, radius } = neighbourhood;
  const count = Math.max(0, Math.min(neighbourhood.count, n - first));
  const parts = tf.tidy(() => {
    const { values, indices } = tf.topk(logits, width); // [rows, width] each
    const highest = values.slice([0, 0], [-1, 1]); // [rows, 1]
    const powers = tf.exp(tf.sub(logits, highest)) as tf.Tensor2D; // [rows, V]
    const mass = sumOfRows(powers); // [rows, 1], of at least 1
    const ids = indices.cast('float32'); // below 2^24 they are exact in float32
    return tf.concat([values, ids, mass, ...(count > 0 ? [powers.slice([0, first], [-1, count])] : [])], 1);
  });
  const numbers = await download(parts as tf.Tensor2D);
  const packed = new Float32Array(rows * (3 * width + 1));
  for (let row = 0; row < rows; row++) {
    const from = numbers.subarray(row * (2 * width + 1 + count), (row + 1) * (2 * width + 1 + count));
    const to = packed.subarray(row * (3 * width + 1), (row + 1) * (3 * width + 1));
    const near = from.subarray(2 * width + 1); // [count]
    to.set(from.subarray(0, 2 * width));
    for (let i = 0; i < width; i++) {
      const at = from[width + i] - first;
      to[2 * width + i] =
        at >= 0 && at < count
          ? near.subarray(Math.max(0, at - radius), at + radius + 1).reduce((sum, power) => sum + power, 0)
          : Math.exp(from[i] - from[0]);
    }
    to[3 * width] = from[2 * width];
  }
  return packed;
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

/** Returns the error for a row without candidates, which occurs only in tiny vocabularies or with many bad words. */
export function nothingLeft({ noRepeatNgramSize }: GenerationSettings, generated: number): Florence2Error {
  return new Florence2Error(
    `Every token after ${generated} is banned by noRepeatNgramSize ${noRepeatNgramSize}, badWords or minNewTokens. Change them, or lower maxNewTokens.`,
  );
}
