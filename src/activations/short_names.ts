import { UsageError } from '../errors.ts';
import { suggestName } from '../names.ts';

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
 * Returns the hook point that a short name stands for: `pattern` or `hook_pattern` with the part `decoder` and layer 3 is
 * `language_model.decoder.layers.3.self_attn.hook_pattern`. Names with a dot are returned as they are.
 *
 * @param names the hook points to choose from
 * @throws UsageError if no point or several points fit; it suggests the nearest short name
 */
export function resolveShortName(
  name: string,
  names: readonly string[],
  { in: part, layer }: { in?: NetworkPart; layer?: number | string },
): string {
  if (names.length === 0 || names.includes(name) || name.includes('.')) return name;
  const wanted = name.replace(/^hook_/, '');
  const named = names.filter(point => shortName(point) === wanted);
  const at = layer === undefined ? '' : `s.${layer}.`; // layers.3. or blocks.2.0.
  const found = named.filter(point => point.includes(at) && (!part || PARTS[part].test(point)));
  if (found.length === 1) return found[0];
  const where = [part && ` in the ${part}`, layer !== undefined && ` at layer ${layer}`].filter(Boolean).join('');
  if (named.length === 0) {
    const hint = suggestName(wanted, [...new Set(names.map(shortName))], 'Those that were kept');
    throw new UsageError(`No activation named ${name} was kept. ${hint}`);
  }
  if (found.length === 0) throw new UsageError(`No activation named ${name} was kept${where}.`);
  const some = `${found.slice(0, 3).join(', ')}${found.length > 3 ? ', …' : ''}`;
  throw new UsageError(`${name}${where} is the name of ${found.length} points: set \`in\` or \`layer\` (${some}).`);
}

/** Returns the last part of a hook point's name without `hook_`. */
const shortName = (point: string): string => point.replace(/^(.*\.)?hook_/, '');
