import { closest } from 'fastest-levenshtein';
import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { Parameter } from '../nn/params.ts';
import { isBuffer } from '../weights/names.ts';

/**
 * The model's parameters that are trained: all but those that are frozen.
 *
 * @param freeze names, what names begin with before a dot, or regular expressions
 * @throws UsageError for a pattern that freezes nothing, and where nothing is left to train
 */
export function trainableParameters(model: Florence2Model, freeze: readonly (string | RegExp)[]): Parameter[] {
  const all = [...model.parameters.values()].filter(({ name, loaded }) => loaded && !isBuffer(name));
  for (const pattern of freeze) {
    if (all.some(({ name }) => matches(pattern, name))) continue;
    const wanted = typeof pattern === 'string' ? pattern : pattern.source;
    throw new UsageError(`freeze: ${pattern} is the name of no parameter. The nearest is ${nearest(wanted, all)}.`);
  }
  const trainable = all.filter(({ name }) => !freeze.some(pattern => matches(pattern, name)));
  if (trainable.length === 0) throw new UsageError('freeze: every parameter is frozen, so there is nothing to train.');
  return trainable;
}

function matches(pattern: string | RegExp, name: string): boolean {
  if (typeof pattern !== 'string') return name.search(pattern) >= 0;
  return name === pattern || name.startsWith(`${pattern}.`);
}

/** Of the parameters and all modules that they are in. */
function nearest(wanted: string, parameters: Parameter[]): string {
  const names = parameters.flatMap(({ name }) => {
    const parts = name.split('.');
    return parts.map((_, i) => parts.slice(0, i + 1).join('.'));
  });
  return closest(wanted, [...new Set(names)]);
}

/** What has no gradients on wasm: convolutions, rows of a table, and the head, which reads a copy that lies otherwise. */
const NOT_ON_WASM = /^(vision_tower|multi_modal_projector)\.|^language_model\.shared\.|^lm_head\.weight$/;

/** The first of these parameters that a backend has no gradients for, and why; undefined where it can train them all. */
export function untrainable(
  trainable: readonly Parameter[],
  backend: string,
): { name: string; reason: string } | undefined {
  const found = backend === 'wasm' ? trainable.find(({ name }) => NOT_ON_WASM.test(name)) : undefined;
  return found && { name: found.name, reason: 'it has no gradients of convolutions and embeddings' };
}
