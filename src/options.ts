import { UsageError } from './errors.ts';
import { listNames, suggestName } from './names.ts';
import { show } from './show.ts';

/** A kind of value: the allowed values, and the words that name them in messages ("must be …"). */
export interface Kind {
  readonly expected: string;
  /** Whether the option must be given. */
  readonly required?: boolean;
  allows(value: unknown): boolean;
}

/** The options of a call and the kind of each. The type check fails if an option has no row. */
export type OptionTable<O> = { readonly [K in keyof Required<O>]: Kind };

/**
 * Checks the options of a call. Options that are undefined are absent.
 *
 * @param call the call's name in messages
 * @throws UsageError for an unknown option, with the nearest name, for a value of another kind, and for a missing one
 */
export function checkOptions<O extends object>(call: string, options: O, table: OptionTable<O>): void {
  if (typeof options !== 'object' || options === null)
    throw new UsageError(`The options of ${call} must be an object, not ${show(options)}.`);
  const kinds: Readonly<Record<string, Kind>> = table;
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(kinds, name)) {
      const hint = suggestName(name, Object.keys(kinds), 'Its options');
      throw new UsageError(`${call} has no option ${name}. ${hint}`, { code: 'UNKNOWN_OPTION' });
    }
    if (value !== undefined) checkKind(name, value, kinds[name]);
  }
  for (const [name, { required, expected }] of Object.entries(kinds)) {
    const value = (options as Readonly<Record<string, unknown>>)[name];
    if (required && value === undefined) throw new UsageError(`${call} needs ${name}: ${expected}.`);
  }
}

/** @throws UsageError that names the argument and the expected values */
export function checkKind(name: string, value: unknown, { allows, expected }: Kind): void {
  if (!allows(value)) throw new UsageError(`${name} must be ${expected}, not ${show(value)}.`);
}

/** Returns the options that a table has, to pass them on to another call. */
export function pickOptions<O extends object>(options: NoInfer<O>, table: OptionTable<O>): Partial<O> {
  const given = Object.entries(options).filter(([name, value]) => value !== undefined && Object.hasOwn(table, name));
  return Object.fromEntries(given) as Partial<O>;
}

const isNumber = (value: unknown): value is number => Number.isFinite(value);

/** Whole numbers from `least` on. */
export const wholeFrom = (least: number): Kind => ({
  expected: `a whole number of at least ${least}`,
  allows: value => Number.isSafeInteger(value) && (value as number) >= least,
});
export const count = wholeFrom(1);
export const whole = wholeFrom(0);
export const integer: Kind = { expected: 'a whole number', allows: Number.isSafeInteger };
export const finite: Kind = { expected: 'a finite number', allows: isNumber };
export const number: Kind = { expected: 'a number of at least 0', allows: value => isNumber(value) && value >= 0 };
export const positive: Kind = { expected: 'a number above 0', allows: value => isNumber(value) && value > 0 };
export const share: Kind = {
  expected: 'a number from 0 to 1',
  allows: value => isNumber(value) && value >= 0 && value <= 1,
};
export const fraction: Kind = {
  expected: 'a number above 0 and below 1',
  allows: value => isNumber(value) && value > 0 && value < 1,
};
export const rate: Kind = { expected: 'at least 0 and below 1', allows: x => isNumber(x) && x >= 0 && x < 1 };
export const onOff: Kind = { expected: 'true or false', allows: value => typeof value === 'boolean' };
/** A value that must be given. */
export const required = (kind: Kind): Kind => ({ ...kind, required: true });
export const text: Kind = { expected: 'a text', allows: value => typeof value === 'string' && value !== '' };
/** A text, which may be empty. */
export const anyText: Kind = { expected: 'a text', allows: value => typeof value === 'string' };
export const callback: Kind = { expected: 'a function', allows: value => typeof value === 'function' };
export const abortSignal: Kind = { expected: 'an AbortSignal', allows: value => value instanceof AbortSignal };
/** Values that the call itself checks. */
export const anything: Kind = { expected: 'any value', allows: () => true };

/** One of several names. */
export const oneOf = (...names: readonly (string | boolean)[]): Kind => ({
  expected: listNames(names.map(String), 'or'),
  allows: value => names.includes(value as string),
});

/** A list, which may be typed (Float32Array), of values of one kind. */
export const listOf = (item: Kind, what: string): Kind => ({
  expected: `a list of ${what}`,
  allows: value => (Array.isArray(value) || ArrayBuffer.isView(value)) && [...(value as unknown[])].every(item.allows),
});

/** An object with fields of these kinds, such as a result of another call. It may have more fields. */
export const objectWith = (fields: Readonly<Record<string, Kind>>, expected: string): Kind => ({
  expected,
  allows: value =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(fields).every(([name, kind]) => kind.allows((value as Record<string, unknown>)[name])),
});

/** An object of a class. */
export const instanceOf = (type: { readonly prototype: object }, expected: string): Kind => ({
  expected,
  allows: value => value instanceof (type as new () => object),
});
