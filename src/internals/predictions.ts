import type * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { UsageError } from '../errors.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** A token, and how probable it is by the softmax of some logits. */
export interface TokenProbability {
  token: number;
  text: string;
  probability: number;
}

/** What logits say comes at one position. */
export interface Prediction {
  /** The most probable tokens, best first; the lower id first among equals. */
  top: TokenProbability[];
  /** The token that the answer has here; rank 1 is the most probable. */
  answer: TokenProbability & { rank: number };
  /** Of the whole distribution, in nats: 0 where the model is certain, ln V where it knows nothing. */
  entropy: number;
}

/**
 * Predictions from the logits of one sequence [1, T, V], which are disposed. Computed in float64 from all logits: what float32 kernels sum up
 * over a vocabulary is not a probability to the last digits that one wants to compare.
 *
 * @param answer the tokens of the answer [T]
 * @param count how many of the most probable tokens
 */
export async function readPredictions(
  logits: tf.Tensor3D,
  answer: readonly number[],
  count: number,
  tokenizer: Tokenizer,
): Promise<Prediction[]> {
  const { values, shape } = await download(logits);
  if (!(Number.isSafeInteger(count) && count >= 1)) throw new UsageError(`top must be a whole number, not ${count}.`);
  const V = shape[2];
  return answer.map((token, t) => {
    const row = values.subarray(t * V, (t + 1) * V);
    const { probability, entropy } = softmax(row);
    const named = (token: number) => ({
      token,
      text: tokenizer.tokenTexts([token])[0],
      probability: probability(row[token]),
    });
    return {
      top: highest(row, Math.min(count, V)).map(named),
      answer: { ...named(token), rank: 1 + above(row, row[token]) },
      entropy,
    };
  });
}

/** The probability of a logit of this row, and the entropy of all. */
function softmax(row: Float32Array): { probability: (logit: number) => number; entropy: number } {
  let highest = -Infinity;
  for (const logit of row) if (logit > highest) highest = logit;
  let [mass, moment] = [0, 0];
  for (const logit of row) {
    const share = Math.exp(logit - highest);
    mass += share;
    if (share > 0) moment += share * (logit - highest);
  }
  const probability = (logit: number) => Math.exp(logit - highest) / mass;
  return { probability, entropy: Math.log(mass) - moment / mass };
}

/** Ids of the `count` highest numbers, highest first. */
function highest(row: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let id = 0; id < row.length; id++) {
    if (best.length === count && !(row[id] > row[best[count - 1]])) continue;
    let at = best.length;
    while (at > 0 && row[id] > row[best[at - 1]]) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
  }
  return best;
}

/** How many numbers are higher. */
function above(row: Float32Array, value: number): number {
  let count = 0;
  for (const other of row) if (other > value) count++;
  return count;
}
