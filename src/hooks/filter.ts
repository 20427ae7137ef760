/**
 * Selects hook points by name: a name, a glob, a regular expression, a predicate, or a list of these of which one must
 * match. In a glob, `*` matches any characters within one dotted part, `?` matches one of them, and `**` matches any
 * number of parts: `language_model.decoder.layers.*.hook_resid_post`, `**.hook_pattern`.
 */
export type HookFilter = string | RegExp | ((name: string) => boolean) | readonly HookFilter[];

/** Selects generation steps, counted from 0: one, several, or a predicate. */
export type StepFilter = number | readonly number[] | ((step: number) => boolean);

/** Returns a predicate for the names that a filter selects. */
export function matcher(filter: HookFilter): (name: string) => boolean {
  if (typeof filter === 'function') return filter;
  if (filter instanceof RegExp) return name => name.search(filter) >= 0; // unlike test(), ignores lastIndex
  if (typeof filter !== 'string') {
    const any = filter.map(matcher);
    return name => any.some(matches => matches(name));
  }
  if (!/[*?]/.test(filter)) return name => name === filter;
  const pattern = globPattern(filter);
  return name => pattern.test(name);
}

/** Returns a predicate for steps. Outside of a generation the step is undefined and only a missing filter matches. */
export function stepMatcher(filter: StepFilter | undefined): (step: number | undefined) => boolean {
  if (filter === undefined) return () => true;
  if (typeof filter === 'function') return step => step !== undefined && filter(step);
  const steps = new Set<number | undefined>([filter].flat());
  return step => step !== undefined && steps.has(step);
}

function globPattern(glob: string): RegExp {
  const source = glob.replace(/(?<![^.])\*\*\.|\.\*\*$|\*\*|[^\w]/g, special => {
    if (special === '**.') return '(?:.*\\.)?'; // also matches no part
    if (special === '.**') return '(?:\\..*)?';
    if (special === '**') return '.*';
    if (special === '*') return '[^.]*';
    if (special === '?') return '[^.]';
    return `\\${special}`;
  });
  return new RegExp(`^${source}$`);
}
