import { randomIntegers } from '../random.ts';
import type { GenerationSettings } from './options.ts';

/** The settings of `keepProbable`. */
type Sampling = Pick<GenerationSettings, 'temperature' | 'topK' | 'topP' | 'minP' | 'numBeams' | 'eosTokenIds'>;

/**
 * Divides scores [V] by the temperature and sets those of tokens that are not to be drawn to -Infinity, in place: those
 * outside `topK`, then outside `topP`, then below `minP`. The same as transformers' warpers, in their order.
 */
export function keepProbable(scores: Float32Array, settings: Sampling): void {
  const { temperature, topK, topP, minP, numBeams, eosTokenIds } = settings;
  if (temperature !== 1) for (let i = 0; i < scores.length; i++) scores[i] /= temperature;
  // A beam keeps a token beside those that end it.
  const least = numBeams > 1 ? eosTokenIds.length + 1 : 1;
  if (topK > 0) keepFrom(scores, kthHighest(scores, Math.max(topK, least)));
  if (topP < 1) keepFrom(scores, Math.min(nucleus(scores, topP), kthHighest(scores, least)));
  if (minP > 0) keepFrom(scores, Math.min(kthHighest(scores, 1) + Math.log(minP), kthHighest(scores, least)));
}

/**
 * Returns the lowest score of the most probable tokens that have a probability of `topP` in all (Holtzman et al. 2020):
 * without one of them it would be below.
 */
function nucleus(scores: Float32Array, topP: number): number {
  const ascending = scores.filter(score => score > -Infinity).sort();
  const highest = ascending[ascending.length - 1];
  const total = ascending.reduce((sum, score) => sum + Math.exp(score - highest), 0);
  let below = 0;
  const first = ascending.findIndex(score => {
    below += Math.exp(score - highest);
    return below > (1 - topP) * total;
  });
  return ascending[first] ?? highest;
}

function keepFrom(scores: Float32Array, lowest: number): void {
  for (let i = 0; i < scores.length; i++) if (scores[i] < lowest) scores[i] = -Infinity;
}

/** Returns the k-th highest value, the lowest if there are fewer. */
function kthHighest(values: Float32Array, k: number): number {
  const indices = highestIndices(values, k);
  return indices.length < k ? -Infinity : values[indices[k - 1]];
}

/** Returns the indices of the k highest values, highest first (ties: lowest index first), without those of -Infinity. */
export function highestIndices(values: Float32Array | Float64Array, k: number): number[] {
  const best: number[] = [];
  let lowest = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (!(values[i] > lowest)) continue;
    let at = Math.min(best.length, k - 1);
    while (at > 0 && values[best[at - 1]] < values[i]) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
    if (best.length === k) lowest = values[best[k - 1]];
  }
  return best;
}

/**
 * Returns scores [V] plus Gumbel noise. The k highest of them are k draws without replacement, in order, each with a
 * probability proportional to exp(score) (Gumbel-max trick; Kool et al. 2019 for k above 1). The draws of one token and
 * of all beams' extensions are therefore the same searches as without sampling.
 *
 * @param names what the noise depends on besides the seed
 */
export function withGumbelNoise(scores: Float32Array, seed: number, ...names: (string | number)[]): Float64Array {
  const next = randomIntegers(seed, 'sample', ...names);
  const noisy = new Float64Array(scores);
  for (let i = 0; i < noisy.length; i++) {
    if (noisy[i] > -Infinity) noisy[i] -= Math.log(-Math.log((next() + 0.5) / 2 ** 32));
  }
  return noisy;
}
