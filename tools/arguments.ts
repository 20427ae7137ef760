import { UsageError } from '../src/errors.ts';

/** Reads a flag whose value is a whole number of at least `least`. */
export function wholeNumber(flag: string, value: string, least: number): number {
  if (/^\d+$/.test(value) && Number(value) >= least) return Number(value);
  throw new UsageError(`--${flag} must be a whole number of at least ${least}, not ${value}.`);
}

/** Reads a flag whose value is one of a few words. */
export function oneOf<T extends string>(flag: string, value: string, words: readonly T[]): T {
  const found = words.find(word => word === value);
  if (found === undefined) throw new UsageError(`--${flag} must be one of ${words.join(', ')}, not ${value}.`);
  return found;
}
