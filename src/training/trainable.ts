import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { nearestNames } from '../names.ts';
import type { Parameter } from '../nn/params.ts';
import { isBuffer } from '../weights/names.ts';

/**
 * Returns the model's parameters that are not frozen.
 *
 * @param freeze names of parameters or of modules, or regular expressions
 * @throws UsageError if a pattern matches no parameter, or if every parameter is frozen
 */
export function trainableParameters(model: Florence2Model, freeze: readonly (string | RegExp)[]): Parameter[] {
  const all = [...model.parameters.values()].filter(({ name, loaded }) => loaded && !isBuffer(name));
  for (const pattern of freeze) {
    if (all.some(({ name }) => matches(pattern, name))) continue;
    const wanted = typeof pattern === 'string' ? pattern : pattern.source;
    throw new UsageError(`freeze: no parameter matches ${pattern}. The closest name is ${nearest(wanted, all)}.`);
  }
  const trainable = all.filter(({ name }) => !freeze.some(pattern => matches(pattern, name)));
  if (trainable.length === 0) throw new UsageError('freeze: every parameter is frozen, so there is nothing to train.');
  return trainable;
}

function matches(pattern: string | RegExp, name: string): boolean {
  if (typeof pattern !== 'string') return name.search(pattern) >= 0;
  return name === pattern || name.startsWith(`${pattern}.`);
}

/** Returns the most similar name among the parameters and all modules that contain them. */
function nearest(wanted: string, parameters: Parameter[]): string {
  const names = parameters.flatMap(({ name }) => {
    const parts = name.split('.');
    return parts.map((_, i) => parts.slice(0, i + 1).join('.'));
  });
  return nearestNames(wanted, names, 1)[0];
}

/**
 * Not trainable on wasm, which lacks the gradients of convolutions and of `gather`; the head uses a transposed copy.
 */
const NOT_ON_WASM =
  /^(vision_tower|multi_modal_projector)\.|^language_model\.(shared|decoder\.embed_tokens)\.|^lm_head\.weight$/;

/** Returns the first of these parameters that a backend cannot train, and why, or undefined if it can train all. */
export function untrainable(
  trainable: readonly Parameter[],
  backend: string,
): { name: string; reason: string } | undefined {
  const found = backend === 'wasm' ? trainable.find(({ name }) => NOT_ON_WASM.test(name)) : undefined;
  return found && { name: found.name, reason: 'it has no gradients of convolutions and embeddings' };
}
