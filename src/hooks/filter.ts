import { UsageError } from '../errors.ts';
import { listNames, nearestName, nearestNames } from '../names.ts';
import { callback, type Kind, listOf, whole } from '../options.ts';
import { show } from '../show.ts';

/**
 * Selects hook points by name: a name, a glob, a regular expression, a predicate, or a list of these of which one must
 * match. In a glob, `*` matches any characters within one dotted part, `?` matches one of them, and `**` matches any
 * number of parts: `language_model.decoder.layers.*.hook_resid_post`, `**.hook_pattern`.
 */
export type HookFilter = string | RegExp | ((name: string) => boolean) | readonly HookFilter[];

/** Selects generation steps, counted from 0: one, several, or a predicate. */
export type StepFilter = number | readonly number[] | ((step: number) => boolean);

const STEPS = listOf(whole, 'steps');

/** The kind of a StepFilter. */
export const STEP_FILTER: Kind = {
  expected: 'a step (a whole number from 0), a list of steps or a function',
  allows: value => whole.allows(value) || callback.allows(value) || STEPS.allows(value),
};

/**
 * Points whose activations are computed only for hooks that ask for them: those whose pattern contains the last part of
 * the name (`**.hook_result`), and predicates that accept it. `**` does not match them.
 */
const ON_REQUEST = /(^|\.)(hook_result|hook_scale|hook_normalized)$/;

/** Whether a pattern asks for a point that it matches. */
function asksFor(pattern: string, name: string): boolean {
  const leaf = ON_REQUEST.exec(name)?.[2];
  return leaf === undefined || pattern.includes(leaf);
}

/** Returns a predicate for the names that a filter selects. */
export function matcher(filter: HookFilter): (name: string) => boolean {
  if (typeof filter === 'function') return filter;
  if (filter instanceof RegExp) return name => name.search(filter) >= 0 && asksFor(filter.source, name); // unlike test(), ignores lastIndex
  if (typeof filter !== 'string') {
    const any = filter.map(matcher);
    return name => any.some(matches => matches(name));
  }
  if (!/[*?]/.test(filter)) return name => name === filter;
  const pattern = globPattern(filter);
  return name => pattern.test(name) && asksFor(filter, name);
}

/** Returns the filters of nested lists. @throws UsageError for values that are no filters */
export function leaves(filter: HookFilter): HookFilter[] {
  if (typeof filter === 'string' || filter instanceof RegExp || typeof filter === 'function') return [filter];
  if (Array.isArray(filter)) return filter.flatMap(leaves);
  throw new UsageError(`A filter must be a name, a RegExp, a function or a list of these, not ${show(filter)}.`);
}

/**
 * Checks that a filter, and each filter of a list, selects a hook point.
 *
 * @param names all hook points of the model
 * @throws UsageError that suggests the nearest names
 */
export function requirePoints(filter: HookFilter, names: readonly string[]): void {
  const missed = leaves(filter).find(one => !names.some(matcher(one)));
  if (missed) throw noPoint(missed, names);
}

/** Returns the error about a filter that selects none of these hook points. */
export function noPoint(filter: HookFilter, names: readonly string[], of = 'the model'): UsageError {
  const wanted = typeof filter === 'function' ? 'matches the given predicate' : `is named ${filter}`;
  const near = typeof filter === 'string' ? nearPoints(filter, names) : [];
  const hint = near.length > 0 ? ` Did you mean ${listNames(near, 'or')}?` : '';
  return new UsageError(`No hook point of ${of} ${wanted}.${hint}`, { code: 'UNKNOWN_HOOK_POINT' });
}

/** Returns a glob for the last part of names, the names that contain the given one, the nearest, or the three nearest. */
function nearPoints(wanted: string, names: readonly string[]): string[] {
  if (names.some(name => name.endsWith(`.${wanted}`))) return [`**.${wanted}`];
  const inside = names.filter(name => name.includes(wanted));
  if (inside.length > 0) return inside.slice(0, 3);
  const near = nearestName(wanted, names);
  return near === undefined ? nearestNames(wanted.replace(/[*?]/g, ''), names, 3) : [near];
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
