import type { Dataset } from '../datasets/example.ts';
import { UsageError } from '../errors.ts';
import { randomStream, shuffle } from '../random.ts';

export interface WeightedDataset {
  dataset: Dataset;
  /** The share of the dataset that an epoch draws: 1 all of it, 0.2 a fifth (another one each epoch), 2 all twice. */
  weight: number;
}

/** An example of a mixture: the number of its dataset and its number there. */
export interface Draw {
  part: number;
  index: number;
}

/**
 * The order of an epoch's examples, drawn from all parts and shuffled. The same arguments give the same order, whatever
 * was drawn before.
 *
 * Each part is an endless row of shuffled passes over its examples, of which an epoch takes the next `weight` ·
 * `length`: after any number of epochs no example has been drawn more than once more often than another.
 *
 * @param epoch counted from 0
 */
export function epochOrder(parts: readonly { length: number; weight: number }[], seed: number, epoch: number): Draw[] {
  const draws = epochRanges(parts, epoch).flatMap(([start, end], part) => {
    const random = (pass: number) => randomStream(seed, 'pass', part, pass);
    return rowOfPasses(parts[part].length, start, end, random).map(index => ({ part, index }));
  });
  return shuffle(draws, randomStream(seed, 'epoch', epoch));
}

/** How many examples an epoch draws. */
export function epochLength(parts: readonly { length: number; weight: number }[], epoch: number): number {
  return epochRanges(parts, epoch).reduce((sum, [start, end]) => sum + end - start, 0);
}

/** From where to where in each part's row an epoch goes. */
function epochRanges(parts: readonly { length: number; weight: number }[], epoch: number): [number, number][] {
  return parts.map(({ length, weight }, part) => {
    if (!(weight >= 0 && Number.isFinite(weight))) {
      throw new UsageError(`The weight of dataset ${part} is ${weight}, expected a number of at least 0.`);
    }
    return [Math.round(epoch * weight * length), Math.round((epoch + 1) * weight * length)];
  });
}

/** The examples from `start` to `end` of a row of passes, each in its own random order. */
function rowOfPasses(length: number, start: number, end: number, random: (pass: number) => () => number): number[] {
  const row: number[] = [];
  for (let at = start; at < end; ) {
    const pass = Math.floor(at / length);
    const order = shuffle(
      Array.from({ length }, (_, i) => i),
      random(pass),
    );
    const upTo = Math.min(end - pass * length, length);
    for (const index of order.slice(at - pass * length, upTo)) row.push(index); // spread, a large dataset overflows the stack
    at = pass * length + upTo;
  }
  return row;
}
