import { Florence2Error } from './errors.ts';
import { show } from './show.ts';

/** Parses the text of a JSON file. A byte order mark is ignored. @throws Florence2Error naming the file */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new Florence2Error(`${file} is not JSON: ${(error as Error).message.replaceAll('\n', ' ')}`, {
      cause: error,
    });
  }
}

/** Parses the text of a JSON file that must contain an object. @throws Florence2Error naming the file */
export function parseJsonObject(text: string, file: string): Record<string, unknown> {
  const value = parseJson(text, file);
  if (!isRecord(value)) throw new Florence2Error(`${file} holds ${show(value)}, expected an object.`);
  return value;
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Reads the fields of an object in a JSON file one by one, each by its type. A field that is missing or has the wrong
 * type is an error that names the file and the field. Null counts as missing: real files set unused fields to null.
 *
 * Methods with a `fallback` return it for a missing field. Without a fallback the field is required.
 */
export class Fields {
  constructor(
    private readonly values: Record<string, unknown>,
    readonly file: string,
    /** Path of the object in the file, such as `vision_config`. */
    private readonly at = '',
  ) {}

  has(name: string): boolean {
    return this.raw(name) !== undefined;
  }

  /** Returns the field unchecked; undefined if it is absent or null. */
  raw(name: string): unknown {
    return (Object.hasOwn(this.values, name) ? this.values[name] : undefined) ?? undefined;
  }

  /** Whether the field is present and null: for fields where null means "none". */
  isNull(name: string): boolean {
    return Object.hasOwn(this.values, name) && this.values[name] === null;
  }

  object(name: string): Fields {
    return new Fields(this.read(name, isRecord, 'an object'), this.file, this.path(name));
  }

  boolean(name: string, fallback?: boolean): boolean {
    return this.read(name, v => typeof v === 'boolean', 'true or false', fallback);
  }

  string<T extends string>(name: string, allowed: readonly T[], fallback?: T): T {
    return this.read(name, v => allowed.includes(v as T), allowed.map(show).join(' or '), fallback);
  }

  number(name: string, fallback?: number): number {
    return this.read(name, v => Number.isFinite(v), 'a number', fallback);
  }

  /** Reads a number in [0, 1), such as a dropout rate. */
  rate(name: string, fallback?: number): number {
    return this.read(
      name,
      v => Number.isFinite(v) && (v as number) >= 0 && (v as number) < 1,
      'at least 0 and below 1',
      fallback,
    );
  }

  integer(name: string, least: number, fallback?: number): number {
    return this.read(name, v => isInteger(v, least), `a whole number of at least ${least}`, fallback);
  }

  integers(name: string, least: number): number[] {
    const expected = `a list of whole numbers of at least ${least}`;
    return this.read(name, v => Array.isArray(v) && v.length > 0 && v.every(x => isInteger(x, least)), expected);
  }

  numbers(name: string, length: number, fallback?: number[]): number[] {
    const allowed = (v: unknown) => Array.isArray(v) && v.length === length && v.every(x => Number.isFinite(x));
    return this.read(name, allowed, `a list of ${length} numbers`, fallback);
  }

  booleans(name: string): boolean[] {
    const allowed = (v: unknown) => Array.isArray(v) && v.length > 0 && v.every(x => typeof x === 'boolean');
    return this.read(name, allowed, 'a list of true and false');
  }

  /** @throws Florence2Error unless the field is absent or has one of the supported values */
  only(name: string, supported: readonly unknown[], why: string): void {
    const value = this.raw(name);
    if (value === undefined || supported.some(other => equalJson(other, value))) return;
    this.fail(name, `is ${show(value)}; only ${supported.map(show).join(' or ')} is supported: ${why}`);
  }

  fail(name: string, problem: string): never {
    throw new Florence2Error(`${this.file}: ${this.path(name)} ${problem}.`);
  }

  private read<T>(name: string, allowed: (value: unknown) => boolean, expected: string, fallback?: T): T {
    const value = this.raw(name);
    if (value === undefined) return fallback ?? this.fail(name, `is missing, expected ${expected}`);
    if (!allowed(value)) this.fail(name, `is ${show(value)}, expected ${expected}`);
    return value as T;
  }

  private path(name: string): string {
    return this.at === '' ? name : `${this.at}.${name}`;
  }
}

/** Compares a value of a file with an expected one, whose depth bounds the comparison. */
const equalJson = (expected: unknown, value: unknown): boolean =>
  expected === value ||
  (Array.isArray(expected) &&
    Array.isArray(value) &&
    expected.length === value.length &&
    expected.every((item, i) => equalJson(item, value[i])));

const isInteger = (value: unknown, least: number): boolean => Number.isSafeInteger(value) && (value as number) >= least;

/**
 * Returns the path of the first key that an object in a JSON text has twice; undefined if there is none. JSON.parse
 * silently keeps the last of equal keys. The text must be valid JSON.
 */
export function duplicateKey(text: string): string[] | undefined {
  const token = /["{}[\]:]/g;
  const open: { keys?: Set<string>; current: string }[] = []; // one entry per open object or list
  let last: [from: number, to: number] = [0, 0]; // the last string, with its quotes
  for (let found = token.exec(text); found; found = token.exec(text)) {
    const [character] = found;
    const top = open.at(-1);
    if (character === '"') {
      last = [found.index, stringEnd(text, found.index)];
      token.lastIndex = last[1];
    } else if (character === '{' || character === '[') open.push({ current: '' });
    else if (character !== ':') open.pop();
    else if (top) {
      top.current = JSON.parse(text.slice(...last));
      top.keys ??= new Set();
      if (top.keys.has(top.current)) return open.map(level => level.current).filter(key => key !== '');
      top.keys.add(top.current);
    }
  }
  return undefined;
}

/** Returns the position after the closing quote of the string that starts at `start`. */
function stringEnd(text: string, start: number): number {
  for (let at = start + 1; ; ) {
    const quote = text.indexOf('"', at);
    let backslashes = 0;
    while (text[quote - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}
