import { distance } from 'fastest-levenshtein';

/**
 * Returns the known name nearest to a mistyped one, or undefined if more than a third of the nearest name differs.
 * Upper case, dashes and underscores are ignored: `max_new_tokens` is `maxNewTokens`.
 */
export function nearestName(wanted: string, known: readonly string[]): string | undefined {
  const [near] = byDistance(wanted, known);
  return near && near.apart <= Math.max(1, near.name.length / 3) ? near.name : undefined;
}

/** Returns the `count` known names that are most similar to a name. */
export function nearestNames(wanted: string, known: readonly string[], count: number): string[] {
  return byDistance(wanted, known)
    .slice(0, count)
    .map(({ name }) => name);
}

/**
 * Returns the end of a message about an unknown name: `Did you mean numBeams?`, or the whole list if no name is near.
 *
 * @param what the names in the list, such as `The options`
 */
export function suggestName(wanted: string, known: readonly string[], what: string): string {
  const near = nearestName(wanted, known);
  return near === undefined ? `${what} are ${listNames(known, 'and')}.` : `Did you mean ${near}?`;
}

/** Returns names as words: `a, b and c`. */
export function listNames(names: readonly string[], conjunction: 'and' | 'or'): string {
  if (names.length < 2) return names.join('');
  return `${names.slice(0, -1).join(', ')} ${conjunction} ${names.at(-1)}`;
}

function byDistance(wanted: string, known: readonly string[]): { name: string; apart: number }[] {
  const letters = (name: string): string => name.toLowerCase().replace(/[^\p{L}\p{Nd}]/gu, '') || name;
  const spelt = letters(wanted);
  const rated = [...new Set(known)].map(name => ({ name, apart: editDistance(spelt, letters(name)) }));
  return rated.sort((a, b) => a.apart - b.apart);
}

/**
 * Returns the number of insertions, deletions and replacements of letters that turn a word into another. If it is a
 * single swap of two letters, it is 1.
 */
export function editDistance(a: string, b: string): number {
  const sorted = (word: string): string => [...word].sort().join('');
  const apart = distance(a, b);
  return apart === 2 && sorted(a) === sorted(b) ? 1 : apart;
}
