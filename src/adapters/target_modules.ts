import { distance } from 'fastest-levenshtein';
import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { isBuffer } from '../weights/names.ts';

/** The projections of the language model. Their bare names, as a list, would hit the vision tower's fc1 and fc2 too. */
export const defaultTargets = '^language_model\\..*\\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)$';

/** Which layers an adapter is added to, by canonical name. */
export interface TargetOptions {
  /**
   * One text: a regular expression for the whole name, or `all-linear` for every Linear but the output layer. A list:
   * names, or what they end with after a dot. Default `defaultTargets`.
   */
  targets?: string | string[];
  /** Of the same forms: layers that are left out. Default none. */
  exclude?: string | string[];
}

/**
 * The layers that targets name, in the model's order. Matches as PEFT does, where a name in a list counts only when it
 * is complete or follows a dot.
 *
 * @throws UsageError for a target or exclusion, each entry of a list by itself, that names no layer
 */
export function matchTargets(model: Florence2Model, { targets = defaultTargets, exclude }: TargetOptions): string[] {
  const names = [...model.adaptable.keys()];
  const matched = (spec: string | string[]): Set<string> =>
    new Set(
      entries(spec).flatMap(entry => {
        const matches = names.filter(matcher(entry, model));
        if (matches.length === 0) throw noMatch(entry, names, 'Adapters go on Linear and Conv2d layers');
        return matches;
      }),
    );
  const found = matched(targets);
  const excluded = matched(exclude ?? []);
  const kept = names.filter(name => found.has(name) && !excluded.has(name));
  if (kept.length === 0) throw new UsageError('No layer is left to adapt: there are no targets, or all are excluded.');
  return kept;
}

/**
 * The parameters of modules that are trained whole, by the modules' names or what these end with after a dot.
 *
 * @throws UsageError for a name that no module with parameters has
 */
export function matchModules(model: Florence2Model, modules: string[]): string[] {
  const names = [...model.parameters.keys()].filter(name => !isBuffer(name));
  const found = new Set<string>();
  for (const module of modules) {
    const matches = names.filter(name => isWithin(parentOf(name), module));
    if (matches.length === 0) {
      throw noMatch({ value: module, kind: 'name' }, [...new Set(names.map(parentOf))], 'Modules to save are named so');
    }
    for (const name of matches) found.add(name);
  }
  return names.filter(name => found.has(name));
}

/** Whether a name is a module's, or of something in it; `module` may be the end of its name. */
export function isWithin(name: string, module: string): boolean {
  return `.${name}.`.includes(`.${module}.`);
}

/** The value of the first pattern that a module's name ends with, as a regular expression: PEFT's rank and alpha patterns. */
export function patternValue(patterns: Record<string, number>, module: string): number | undefined {
  return Object.entries(patterns).find(([pattern]) => endsWithPattern(pattern, module))?.[1];
}

/** Whether a module's name, or what follows one of its dots, is matched by a pattern. */
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
    throw new UsageError(`${JSON.stringify(shown)} is no regular expression: ${(error as Error).message}.`);
  }
}

function noMatch({ value, kind }: Entry, names: string[], hint: string): UsageError {
  const what = kind === 'name' ? `nothing is named ${value}` : `no name matches ${value}`;
  return new UsageError(`In this model ${what}. ${hint}: ${nearest(value, kind, names).join(', ')}.`);
}

/** A few of the names, or of their ends with as many parts as the entry has, that look most like it. */
function nearest(value: string, kind: Entry['kind'], names: string[]): string[] {
  const parts = value.split('.').length;
  const candidates = kind === 'name' ? names.map(name => name.split('.').slice(-parts).join('.')) : names;
  const rated = [...new Set(candidates)].map(name => ({ name, apart: distance(name, value) }));
  return rated
    .sort((a, b) => a.apart - b.apart)
    .slice(0, 5)
    .map(({ name }) => name);
}

const parentOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('.')));
