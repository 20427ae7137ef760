import type { Dataset } from '../datasets/example.ts';
import { UsageError } from '../errors.ts';
import { randomStream, shuffle } from '../random.ts';

/** A dataset and how often its examples are drawn. */
export interface WeightedDataset {
  dataset: Dataset;
  /**
   * The share of the dataset that each epoch draws, at least 0: 1 draws every example once, 2 twice, 0.2 a fifth of
   * them (a different fifth in each epoch).
   */
  weight: number;
}

/** An example drawn from a mixture. */
export interface Draw {
  /** Index of the dataset in the mixture. */
  part: number;
  /** Index of the example in the dataset. */
  index: number;
}

/**
 * Returns an epoch's examples, drawn from all parts and shuffled. The result depends only on the arguments, not on
 * earlier calls.
 *
 * Each part is treated as an endless sequence of shuffled passes over its examples, and each epoch takes the next
 * weight · length of them. So after any number of epochs, the draw counts of two examples of a part differ by at most
 * one.
 *
 * @param epoch counted from 0
 * @throws UsageError for a weight that is negative or not finite
 */
export function epochOrder(parts: readonly { length: number; weight: number }[], seed: number, epoch: number): Draw[] {
  const draws = epochRanges(parts, epoch).flatMap(([start, end], part) => {
    const random = (pass: number) => randomStream(seed, 'pass', part, pass);
    return rowOfPasses(parts[part].length, start, end, random).map(index => ({ part, index }));
  });
  return shuffle(draws, randomStream(seed, 'epoch', epoch));
}

/** Returns the number of examples that an epoch draws. Throws like `epochOrder`. */
export function epochLength(parts: readonly { length: number; weight: number }[], epoch: number): number {
  return epochRanges(parts, epoch).reduce((sum, [start, end]) => sum + end - start, 0);
}

/** Returns the range, in each part's endless sequence, that an epoch takes. */
function epochRanges(parts: readonly { length: number; weight: number }[], epoch: number): [number, number][] {
  return parts.map(({ length, weight }, part) => {
    if (!(weight >= 0 && Number.isFinite(weight))) {
      throw new UsageError(`The weight of dataset ${part} is ${weight}, expected a number of at least 0.`);
    }
    return [Math.round(epoch * weight * length), Math.round((epoch + 1) * weight * length)];
  });
}

/** Returns positions `start` to `end` of the sequence of passes over a part, each pass in its own random order. */
function rowOfPasses(length: number, start: number, end: number, random: (pass: number) => () => number): number[] {
  const row: number[] = [];
  for (let at = start; at < end; ) {
    const pass = Math.floor(at / length);
    const order = shuffle(
      Array.from({ length }, (_, i) => i),
      random(pass),
    );
    const upTo = Math.min(end - pass * length, length);
    for (const index of order.slice(at - pass * length, upTo)) row.push(index); // a spread could overflow the stack
    at = pass * length + upTo;
  }
  return row;
}
