/**
 * The one place that knows how files spell their tensors. Everywhere else a tensor has its canonical name: its path in
 * transformers' native Florence-2 without the leading `model.`. Other spellings are Microsoft's layout (the published
 * checkpoints) and PEFT's prefix `base_model.model.` (adapter files).
 *
 * The functions take names of modules (`….qkv`) and of what is below them (`….qkv.weight`, `….qkv.lora_A.weight`).
 */

/** What a name in a file stands for. */
export type CanonicalName =
  /** `transposed`: the file has the matrix as [in, out], the canonical tensor is [out, in]. */
  | { name: string; transposed: boolean; dropped?: undefined }
  /** A tensor that is left out on purpose, and the canonical tensor that it must be equal to. */
  | { dropped: string; copyOf: string; name?: undefined; transposed?: undefined };

/** The table of token embeddings; it is the output layer's weight too, unless a checkpoint has a head of its own. */
export const sharedName = 'language_model.shared.weight';
export const headName = 'lm_head.weight';
export const logitsBiasName = 'final_logits_bias';

/** Tables that are in checkpoints and that nothing trains: PyTorch registers them as buffers, not as parameters. */
export const isBuffer = (name: string): boolean => name === logitsBiasName || name.endsWith('.pos_idx_to_embed');

/** Microsoft has this one as a bare, transposed parameter, where the native model has a Linear module. */
const projection = { canonical: 'multi_modal_projector.image_projection', microsoft: 'image_projection' };

/** Modules with parameters, canonical -> Microsoft's when it differs. N stands for a number. */
const modules: [canonical: string, microsoft: string][] = [
  ['vision_tower.convs.N.conv', 'vision_tower.convs.N.proj'],
  ['vision_tower.convs.N.norm', 'vision_tower.convs.N.norm'],
  ...visionBlock('spatial_block', 'window_attn'),
  ...visionBlock('channel_block', 'channel_attn'),
  ['multi_modal_projector.image_proj_norm', 'image_proj_norm'],
  ['multi_modal_projector.image_position_embed.row_embeddings', 'image_pos_embed.row_embeddings'],
  ['multi_modal_projector.image_position_embed.column_embeddings', 'image_pos_embed.column_embeddings'],
  ['multi_modal_projector.visual_temporal_embed.pos_idx_to_embed', 'visual_temporal_embed.pos_idx_to_embed'],
  ['language_model.shared', 'language_model.model.shared'],
  ...languageStack('encoder', ['self_attn']),
  ...languageStack('decoder', ['self_attn', 'encoder_attn']),
  ['lm_head', 'language_model.lm_head'],
  [logitsBiasName, 'language_model.final_logits_bias'],
];

function visionBlock(block: string, attn: string): [string, string][] {
  const at = `vision_tower.blocks.N.N.${block}`;
  return [
    [`${at}.conv1`, `${at}.conv1.fn.dw`],
    [`${at}.norm1`, `${at}.${attn}.norm`],
    [`${at}.${attn}.qkv`, `${at}.${attn}.fn.qkv`],
    [`${at}.${attn}.proj`, `${at}.${attn}.fn.proj`],
    [`${at}.conv2`, `${at}.conv2.fn.dw`],
    [`${at}.norm2`, `${at}.ffn.norm`],
    [`${at}.ffn.fc1`, `${at}.ffn.fn.net.fc1`],
    [`${at}.ffn.fc2`, `${at}.ffn.fn.net.fc2`],
  ];
}

function languageStack(stack: string, attentions: string[]): [string, string][] {
  const layer = attentions.flatMap(attn => [
    ...['q_proj', 'k_proj', 'v_proj', 'out_proj'].map(projection => `${attn}.${projection}`),
    `${attn}_layer_norm`,
  ]);
  const names = [
    ...['embed_tokens', 'embed_positions', 'layernorm_embedding'],
    ...[...layer, 'fc1', 'fc2', 'final_layer_norm'].map(name => `layers.N.${name}`),
  ];
  return names.map(name => [`language_model.${stack}.${name}`, `language_model.model.${stack}.${name}`]);
}

/** Renames by the table, in one direction. The rest of a name below its module stays as it is. */
function renamer(from: 0 | 1, to: 0 | 1): (name: string) => string | undefined {
  const byShape = new Map(modules.map(row => [row[from], row[to]]));
  return name => {
    const parts = name.split('.');
    const numbers: string[] = [];
    const shape = parts.map(part => {
      if (!/^(0|[1-9]\d*)$/.test(part)) return part === 'N' ? '' : part;
      numbers.push(part);
      return 'N';
    });
    for (let n = parts.length; n > 0; n--) {
      const found = byShape.get(shape.slice(0, n).join('.'));
      if (found) return [found.replace(/\bN\b/g, () => numbers.shift()!), ...parts.slice(n)].join('.');
    }
    return undefined;
  };
}

const canonicalToMicrosoft = renamer(0, 1);
const microsoftToCanonical = renamer(1, 0);
const canonicalToCanonical = renamer(0, 0);
const checkCanonical = (name: string): string | undefined =>
  name.startsWith(`${projection.canonical}.`) || name === projection.canonical ? name : canonicalToCanonical(name);

/**
 * The canonical name of a tensor or module in a checkpoint or adapter file of any known layout.
 * Undefined for a name that belongs to no Florence-2.
 */
export function canonicalName(fileName: string): CanonicalName | undefined {
  const path = fileName.replace(/^base_model\.model\./, '');
  if (path === projection.microsoft) return { name: `${projection.canonical}.weight`, transposed: true };
  const name = microsoftToCanonical(path) ?? checkCanonical(path.replace(/^model\./, ''));
  if (name === undefined) return undefined;
  if (/^language_model\.(en|de)coder\.embed_tokens\.weight$/.test(name)) {
    return { dropped: `a copy of ${sharedName}, which the stacks share`, copyOf: sharedName };
  }
  return { name, transposed: false };
}

/** Microsoft's spelling of a canonical name. `image_projection` is stored transposed there. */
export function toMicrosoft(name: string): string {
  if (name === `${projection.canonical}.weight`) return projection.microsoft;
  return canonicalToMicrosoft(name) ?? unknown(name);
}

/** The native spelling of a canonical name. */
export function toNative(name: string): string {
  if (checkCanonical(name) === undefined) return unknown(name);
  return name.startsWith('lm_head') || name === logitsBiasName ? name : `model.${name}`;
}

function unknown(name: string): never {
  throw new RangeError(`${name} is not a canonical Florence-2 name.`);
}
