/** Longest text of a value in a message. */
const LONGEST = 60;
/** Lists and objects within this many others are shown as `[…]` and `{…}`. */
const DEEPEST = 6;

/**
 * Returns a value as text for a message, shortened to 60 characters: as JSON if it is plain, else by its type. The value
 * may be of any size and depth, and may contain itself.
 */
export function show(value: unknown): string {
  const text = print(value, DEEPEST);
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 3)}…`;
}

/** Prints at least the first characters that `show` returns. */
function print(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, LONGEST + 1));
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return String(value);
  if (Array.isArray(value)) {
    return depth === 0 ? '[…]' : `[${listed(value.values(), item => print(item, depth - 1))}]`;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    return `an object of type ${value.constructor?.name ?? 'unknown'}`;
  }
  if (depth === 0) return '{…}';
  return `{${listed(fields(value), ([name, field]) => `${print(name, 0)}:${print(field, depth - 1)}`)}}`;
}

/** Returns items separated by commas, up to the first that exceeds the length of a message. */
function listed<T>(items: Iterable<T>, text: (item: T) => string): string {
  let all = '';
  for (const item of items) {
    all += `${all === '' ? '' : ','}${text(item)}`;
    if (all.length > LONGEST) break;
  }
  return all;
}

/** Yields the fields of an object without listing all of them first. */
function* fields(value: object): Generator<[name: string, value: unknown]> {
  for (const name in value) if (Object.hasOwn(value, name)) yield [name, (value as Record<string, unknown>)[name]];
}
