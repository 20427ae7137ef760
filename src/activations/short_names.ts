import { UsageError } from '../errors.ts';

/**
 * The part of the network that a short name is in: attention and MLP of the vision tower's spatial (`window`) or channel
 * blocks (`channel`), the projector, the encoder, the decoder without its cross-attention, or the cross-attention.
 */
export type NetworkPart = 'window' | 'channel' | 'projector' | 'encoder' | 'decoder' | 'cross';

const PARTS: Record<NetworkPart, RegExp> = {
  window: /^vision_tower\.blocks\..*\.spatial_block\./,
  channel: /^vision_tower\.blocks\..*\.channel_block\./,
  projector: /^multi_modal_projector\./,
  encoder: /^language_model\.encoder\./,
  decoder: /^language_model\.decoder\.(?!.*\.encoder_attn\.)/,
  cross: /^language_model\.decoder\..*\.encoder_attn\./,
};

/** The names of the parts. */
export const NETWORK_PARTS = Object.keys(PARTS) as NetworkPart[];

/**
 * Returns the hook point that a short name stands for: `pattern` with the part `decoder` and layer 3 is
 * `language_model.decoder.layers.3.self_attn.hook_pattern`. Other names are returned as they are.
 *
 * @param names the hook points to choose from
 * @throws UsageError if no point or several points fit
 */
export function resolveShortName(
  name: string,
  names: readonly string[],
  { in: part, layer }: { in?: NetworkPart; layer?: number | string },
): string {
  if (names.includes(name) || name.includes('.') || (part === undefined && !names.some(endsWith(name)))) return name;
  const at = layer === undefined ? '' : `s.${layer}.`; // layers.3. or blocks.2.0.
  const found = names.filter(endsWith(name)).filter(point => point.includes(at) && (!part || PARTS[part].test(point)));
  if (found.length === 1) return found[0];
  const where = [part && ` in the ${part}`, layer !== undefined && ` at layer ${layer}`].filter(Boolean).join('');
  if (found.length === 0) throw new UsageError(`No activation named ${name} was kept${where}.`);
  const some = `${found.slice(0, 3).join(', ')}${found.length > 3 ? ', …' : ''}`;
  throw new UsageError(`${name}${where} is the name of ${found.length} points: set \`in\` or \`layer\` (${some}).`);
}

/** Returns a predicate for the points whose last part is `hook_NAME`. */
const endsWith =
  (name: string) =>
  (point: string): boolean =>
    point.endsWith(`.hook_${name}`) || point === `hook_${name}`;
