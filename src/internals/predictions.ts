import type * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** A token and its probability, from the softmax of the logits. */
export interface TokenProbability {
  /** Id of the token. */
  token: number;
  /** The token as text. */
  text: string;
  /** 0 to 1. */
  probability: number;
}

/** The prediction at one position. */
export interface Prediction {
  /** The most probable tokens, best first; ties are in order of their ids. */
  top: TokenProbability[];
  /** The answer's token at this position. Rank 1 is the most probable token. */
  answer: TokenProbability & { rank: number };
  /** Entropy of the whole distribution in nats: 0 for a certain prediction, ln V for a uniform one. */
  entropy: number;
}

/**
 * Reads predictions from the logits of one sequence [1, T, V], which are disposed. Computes the softmax in float64,
 * because float32 sums over a vocabulary are too inexact for comparing probabilities.
 *
 * @param answer token ids of the answer [T]
 * @param count number of most probable tokens to return
 */
export async function readPredictions(
  logits: tf.Tensor3D,
  answer: readonly number[],
  count: number,
  tokenizer: Tokenizer,
): Promise<Prediction[]> {
  const { values, shape } = await download(logits);
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

/** Returns a function from a logit of the row to its probability, and the entropy of the row. */
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

/** Returns the indices of the `count` highest values, highest first; ties are in order of their indices. */
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

/** Returns how many values of the row are higher. */
function above(row: Float32Array, value: number): number {
  let count = 0;
  for (const other of row) if (other > value) count++;
  return count;
}
