/**
 * Names of hook points: one name, a glob, a pattern, a test on the name, or a list of which one must fit. In a glob `*`
 * stands for anything within one dotted part and `?` for one character of it, `**` for any number of parts:
 * `language_model.decoder.layers.*.hook_resid_post`, `**.hook_pattern`.
 */
export type HookFilter = string | RegExp | ((name: string) => boolean) | readonly HookFilter[];

/** Steps of a generation: one, several, or a test. */
export type StepFilter = number | readonly number[] | ((step: number) => boolean);

export function matcher(filter: HookFilter): (name: string) => boolean {
  if (typeof filter === 'function') return filter;
  if (filter instanceof RegExp) return name => name.search(filter) >= 0; // whatever its lastIndex
  if (typeof filter !== 'string') {
    const any = filter.map(matcher);
    return name => any.some(matches => matches(name));
  }
  if (!/[*?]/.test(filter)) return name => name === filter;
  const pattern = globPattern(filter);
  return name => pattern.test(name);
}

/** What a pass is asked: its step, undefined outside of a generation. */
export function stepMatcher(filter: StepFilter | undefined): (step: number | undefined) => boolean {
  if (filter === undefined) return () => true;
  if (typeof filter === 'function') return step => step !== undefined && filter(step);
  const steps = new Set<number | undefined>([filter].flat());
  return step => step !== undefined && steps.has(step);
}

function globPattern(glob: string): RegExp {
  const source = glob.replace(/(?<![^.])\*\*\.|\.\*\*$|\*\*|[^\w]/g, special => {
    if (special === '**.') return '(?:.*\\.)?'; // no part at all, too
    if (special === '.**') return '(?:\\..*)?';
    if (special === '**') return '.*';
    if (special === '*') return '[^.]*';
    if (special === '?') return '[^.]';
    return `\\${special}`;
  });
  return new RegExp(`^${source}$`);
}
