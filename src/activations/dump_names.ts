import type { Activation } from './activation.ts';

/** How an activation's layout in a PyTorch dump differs from its layout here. */
export type DumpLayout =
  | 'same' // same order of elements; [B, H, W, C] may be [B, H·W, C] in the dump
  | 'channels first'; // [B, H, W, C] here, [B, C, H, W] in the dump; [H, W, C] is repeated for each image

/** The hook point of a tensor in a dump. */
export interface DumpPoint {
  /** Name of the hook point. */
  readonly point: string;
  /** Layout of the dump's tensor. */
  readonly layout: DumpLayout;
}

/** Name, layout and shape of an activation in a dump. */
export interface DumpForm {
  readonly name: string;
  readonly layout: DumpLayout;
  readonly shape: number[];
}

/** The short names in PyTorch dumps with their hook points. N stands for a number. */
const TABLE: [dumped: string, point: string, layout: DumpLayout][] = [
  ['vision.stageN.conv_embed', 'vision_tower.convs.N.hook_embed', 'channels first'],
  ...visionBlock('spatial'),
  ...visionBlock('channel'),
  ['projector.pos_embed', 'multi_modal_projector.hook_pos_embed', 'channels first'],
  ...['temporal_embed', 'pooled', 'projected', 'image_features'].map(
    leaf => [`projector.${leaf}`, `multi_modal_projector.hook_${leaf}`, 'same'] as [string, string, DumpLayout],
  ),
  ...stack('encoder'),
  ...stack('decoder'),
  ['encoder.inputs_embeds', 'language_model.encoder.hook_embed', 'same'],
  ['logits', 'hook_logits', 'same'],
];

function visionBlock(kind: 'spatial' | 'channel'): [string, string, DumpLayout][] {
  const leaves: [string, string, DumpLayout][] = [
    ['conv1', 'hook_conv1', 'channels first'],
    ['attn', 'hook_attn_out', 'same'],
    ['conv2', 'hook_conv2', 'channels first'],
    ['ffn', 'hook_mlp_out', 'same'],
    ['out', 'hook_resid_post', 'channels first'],
  ];
  return leaves.map(([leaf, hook, layout]) => {
    return [`vision.stageN.blockN.${kind}.${leaf}`, `vision_tower.blocks.N.N.${kind}_block.${hook}`, layout];
  });
}

function stack(side: 'encoder' | 'decoder'): [string, string, DumpLayout][] {
  const leaves = [
    ['self_attn', 'hook_attn_out'],
    ['self_attn_weights', 'self_attn.hook_pattern'],
    ['self_attn_norm', 'hook_resid_mid'],
    ...(side === 'encoder'
      ? []
      : [
          ['cross_attn', 'hook_cross_attn_out'],
          ['cross_attn_weights', 'encoder_attn.hook_pattern'],
          ['cross_attn_norm', 'hook_resid_mid_cross'],
        ]),
    ['ffn', 'hook_mlp_out'],
    ['out', 'hook_resid_post'],
  ];
  // The input of the first layer is the output of layernorm_embedding.
  return [['embed', 'hook_resid_pre', '0'], ...leaves.map(([dumped, point]) => [`layerN.${dumped}`, point, 'N'])].map(
    ([dumped, point, layer]) => [`${side}.${dumped}`, `language_model.${side}.layers.${layer}.${point}`, 'same'],
  );
}

const pattern = (name: string): RegExp => new RegExp(`^${name.replaceAll('.', '\\.').replaceAll('N', '(\\d+)')}$`);

const ROWS = TABLE.map(([dumped, point, layout]) => ({
  dumped: { name: dumped, pattern: pattern(dumped) },
  point: { name: point, pattern: pattern(point) },
  layout,
}));

/** Returns the hook point of a tensor in a dump; undefined if it has none. */
export function dumpPoint(dumped: string): DumpPoint | undefined {
  for (const row of ROWS) {
    const point = translate(dumped, row.dumped.pattern, row.point.name);
    if (point) return { point, layout: row.layout };
  }
  return undefined;
}

/** Returns the form of a hook point's activation in a dump; undefined if dumps do not contain it. */
export function dumpForm(point: string, shape: number[]): DumpForm | undefined {
  for (const { dumped, point: own, layout } of ROWS) {
    const name = translate(point, own.pattern, dumped.name);
    if (!name) continue;
    if (layout === 'same' && !name.startsWith('vision.')) return { name, layout, shape };
    const [H, W, C] = shape.slice(-3);
    const images = shape.length === 4 ? shape[0] : 1; // a position embedding, the same for each image
    return { name, layout, shape: layout === 'same' ? [images, H * W, C] : [images, C, H, W] };
  }
  return undefined;
}

/** Returns `to` with each N replaced by the numbers that `from` finds in the name; undefined if it does not match. */
function translate(name: string, from: RegExp, to: string): string | undefined {
  const numbers = from.exec(name)?.slice(1);
  return numbers && to.replace(/N/g, () => numbers.shift()!);
}

/**
 * Returns the values of an activation in a dump's layout; undefined if its shape does not fit the dump's. The values
 * are permuted in JavaScript, so that the comparison does not depend on the backend's transpose.
 */
export function toDumpLayout(activation: Activation, layout: DumpLayout, shape: number[]): Float32Array | undefined {
  const { values } = activation;
  const count = shape.reduce((n, d) => n * d, 1);
  if (layout === 'same') return sameElements(activation.shape, shape) ? values : undefined;
  const [H, W, C] = activation.shape.slice(-3);
  const images = activation.shape.length === 4 ? activation.shape[0] : shape[0];
  if ([images, C, H, W].join() !== shape.join()) return undefined;
  const permuted = new Float32Array(count);
  const perImage = H * W * C;
  for (let i = 0; i < count; i++) {
    const position = i % (H * W);
    const channel = Math.floor(i / (H * W)) % C;
    const image = activation.shape.length === 4 ? Math.floor(i / perImage) : 0;
    permuted[i] = values[image * perImage + position * C + channel];
  }
  return permuted;
}

/** Whether shapes are equal, where a map [B, H, W, C] here equals [B, H·W, C] in the dump. */
function sameElements(here: number[], there: number[]): boolean {
  if (here.length === 4 && there.length === 3) {
    const [B, H, W, C] = here;
    return [B, H * W, C].join() === there.join();
  }
  return here.join() === there.join();
}
