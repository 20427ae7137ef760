import type { Parameter } from '../nn/params.ts';

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
