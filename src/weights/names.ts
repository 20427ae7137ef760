/**
 * Tensor names in files. Everywhere else a tensor has its canonical name: its path in transformers' native Florence-2
 * without the leading `model.`. Files also use Microsoft's layout (the published checkpoints) and PEFT's prefix
 * `base_model.model.` (adapters).
 *
 * All functions accept names of modules (`….qkv`) and of their tensors (`….qkv.weight`, `….qkv.lora_A.weight`).
 */

/** The meaning of a name in a file. */
export type CanonicalName =
  /** A tensor or module. `transposed`: the file has the matrix as [in, out], the canonical tensor is [out, in]. */
  | { name: string; transposed: boolean; dropped?: undefined }
  /** A tensor that is left out, with the reason and the canonical tensor that it must equal. */
  | { dropped: string; copyOf: string; name?: undefined; transposed?: undefined };

/** The token embeddings. They are also the output layer's weight, unless a checkpoint has an untied head. */
export const SHARED_NAME = 'language_model.shared.weight';
/** The table of the decoder's tokens, if it is not the shared one. */
export const DECODER_TABLE_NAME = 'language_model.decoder.embed_tokens.weight';
export const HEAD_NAME = 'lm_head.weight';
export const LOGITS_BIAS_NAME = 'final_logits_bias';

/** Whether a tensor is a buffer in PyTorch: part of the checkpoint, but never trained. */
export const isBuffer = (name: string): boolean => name === LOGITS_BIAS_NAME || name.endsWith('.pos_idx_to_embed');

/** A bare, transposed parameter in Microsoft's layout; a Linear module in the native one. */
const PROJECTION = { canonical: 'multi_modal_projector.image_projection', microsoft: 'image_projection' };

/** All modules with parameters: canonical name and Microsoft's. N stands for a number. */
const MODULES: [canonical: string, microsoft: string][] = [
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
  [LOGITS_BIAS_NAME, 'language_model.final_logits_bias'],
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

/** Returns a function that renames by the table in one direction. The part of a name after its module is kept. */
function renamer(from: 0 | 1, to: 0 | 1): (name: string) => string | undefined {
  const byShape = new Map(MODULES.map(row => [row[from], row[to]]));
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
  name.startsWith(`${PROJECTION.canonical}.`) || name === PROJECTION.canonical ? name : canonicalToCanonical(name);

/**
 * Returns the canonical name of a tensor or module in a checkpoint or adapter file of any known layout; undefined for a
 * name that Florence-2 does not have.
 */
export function canonicalName(fileName: string): CanonicalName | undefined {
  const path = fileName.replace(/^base_model\.model\./, '');
  if (path === PROJECTION.microsoft) return { name: `${PROJECTION.canonical}.weight`, transposed: true };
  const name = microsoftToCanonical(path) ?? checkCanonical(path.replace(/^model\./, ''));
  if (name === undefined) return undefined;
  if (name === 'language_model.encoder.embed_tokens.weight') {
    return { dropped: `a copy of ${SHARED_NAME}, in which prompts are looked up`, copyOf: SHARED_NAME };
  }
  return { name, transposed: false };
}

/** Returns the name in Microsoft's layout, which stores `image_projection` transposed. */
export function toMicrosoft(name: string): string {
  if (name === `${PROJECTION.canonical}.weight`) return PROJECTION.microsoft;
  return canonicalToMicrosoft(name) ?? unknown(name);
}

/** Returns the name in transformers' native layout. */
export function toNative(name: string): string {
  if (checkCanonical(name) === undefined) return unknown(name);
  return name.startsWith('lm_head') || name === LOGITS_BIAS_NAME ? name : `model.${name}`;
}

function unknown(name: string): never {
  throw new RangeError(`${name} is not a canonical Florence-2 name.`);
}
