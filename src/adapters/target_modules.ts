import { Florence2Error, UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { nearestNames } from '../names.ts';
import { withTimeLimit } from '../platform/node.ts';
import { show } from '../show.ts';
import { isBuffer } from '../weights/names.ts';

/**
 * The projections of the language model. This is an expression because a list of their short names would also match fc1
 * and fc2 of the vision tower.
 */
export const defaultTargets = '^language_model\\..*\\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)$';

/** Selects the layers that an adapter is added to, by canonical name. */
export interface TargetOptions {
  /**
   * A string: a regular expression that matches the whole name, or `all-linear` for every Linear except the output
   * layer. A list: full names or their last parts. Default `defaultTargets`.
   */
  targets?: string | string[];
  /** Layers to leave out, in the same form. Default none. */
  exclude?: string | string[];
}

/**
 * Returns the names of the targeted layers, in the model's order. Matches like PEFT: an entry of a list matches a full
 * name, or its end after a dot.
 *
 * @throws UsageError if a target or exclusion matches no layer, where each entry of a list must match
 */
export function matchTargets(model: Florence2Model, { targets = defaultTargets, exclude }: TargetOptions): string[] {
  const isOffered = (name: string): boolean => model.adaptable.get(name)!.weight.layout !== 'depthwise';
  const names = [...model.adaptable.keys()].filter(isOffered);
  const matched = (spec: string | string[]): Set<string> =>
    new Set(
      entries(spec).flatMap(entry => {
        const matches = names.filter(matcher(entry, model));
        if (matches.length === 0) throw noMatch(entry, names, 'Similar Linear and Conv2d layers');
        return matches;
      }),
    );
  const found = matched(targets);
  const excluded = matched(exclude ?? []);
  const kept = names.filter(name => found.has(name) && !excluded.has(name));
  if (kept.length === 0)
    throw new UsageError('There is no layer to adapt: targets is empty, or exclude covers all targets.');
  return kept;
}

/**
 * Returns the parameters of modules that are trained in full.
 *
 * @param modules full names of modules or their last parts
 * @throws UsageError for a name that no module with parameters has
 */
export function matchModules(model: Florence2Model, modules: string[]): string[] {
  const names = [...model.parameters.keys()].filter(name => !isBuffer(name));
  const found = new Set<string>();
  for (const module of modules) {
    const matches = names.filter(name => isWithin(parentOf(name), module));
    if (matches.length === 0) {
      throw noMatch(
        { value: module, kind: 'name' },
        [...new Set(names.map(parentOf))],
        'Similar modules with parameters',
      );
    }
    for (const name of matches) found.add(name);
  }
  return names.filter(name => found.has(name));
}

/** Whether a name is that of a module or of something inside it. `module` may be any part of the path between dots. */
export function isWithin(name: string, module: string): boolean {
  return `.${name}.`.includes(`.${module}.`);
}

/**
 * Returns the value of the first pattern that matches the end of a module's name, as PEFT's rank and alpha patterns do.
 *
 * @throws Florence2Error if matching takes more than a second: patterns may come from a file
 */
export function patternValue(patterns: Record<string, number>, module: string): number | undefined {
  const first = () => Object.entries(patterns).find(([pattern]) => endsWithPattern(pattern, module));
  const late = () => {
    const shown = show(Object.keys(patterns));
    return new Florence2Error(`The patterns ${shown} of the adapter take more than a second to match ${module}.`);
  };
  return withTimeLimit(1000, first, late)?.[1];
}

/** Whether a regular expression matches a module's whole name, or its end after a dot. */
export function endsWithPattern(pattern: string, module: string): boolean {
  return regularExpression(`^(.*\\.)?(${pattern})$`, pattern).test(module);
}

interface Entry {
  value: string;
  kind: 'expression' | 'name';
}

function entries(spec: string | string[]): Entry[] {
  if (typeof spec === 'string') return [{ value: spec, kind: 'expression' }];
  return spec.map(value => ({ value, kind: 'name' }));
}

function matcher({ value, kind }: Entry, model: Florence2Model): (name: string) => boolean {
  if (kind === 'name') return name => name === value || name.endsWith(`.${value}`);
  if (value === 'all-linear') return name => model.adaptable.get(name)!.weight.layout === 'linear';
  const expression = regularExpression(`^(?:${value})$`, value);
  return name => expression.test(name);
}

function regularExpression(source: string, shown: string): RegExp {
  try {
    return new RegExp(source);
  } catch (error) {
    throw new UsageError(`${JSON.stringify(shown)} is not a regular expression: ${(error as Error).message}.`, {
      cause: error,
    });
  }
}

function noMatch({ value, kind }: Entry, names: string[], hint: string): UsageError {
  const what = kind === 'name' ? `nothing is named ${value}` : `no name matches ${value}`;
  return new UsageError(`In this model ${what}. ${hint}: ${nearest(value, kind, names).join(', ')}.`);
}

/** Returns the five names, or ends of names with as many parts as the entry, that are most similar to it. */
function nearest(value: string, kind: Entry['kind'], names: string[]): string[] {
  const parts = value.split('.').length;
  const candidates = kind === 'name' ? names.map(name => name.split('.').slice(-parts).join('.')) : names;
  return nearestNames(value, candidates, 5);
}

const parentOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('.')));
