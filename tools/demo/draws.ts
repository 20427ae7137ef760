/** Draws from a stream of random numbers. */
export class Draws {
  /** @param unit returns a number from 0 to below 1 */
  constructor(readonly unit: () => number) {}

  between([low, high]: readonly [number, number]): number {
    return low + (high - low) * this.unit();
  }

  /** Returns an integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return Math.floor(this.between([low, high + 1]));
  }

  of<T>(list: readonly T[]): T {
    return list[this.integer(0, list.length - 1)];
  }
}
