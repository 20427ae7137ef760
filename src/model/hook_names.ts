import type { Florence2Config } from '../config/model.ts';

const QKV = ['hook_q', 'hook_k', 'hook_v'];
const ATTENTION = [...QKV, 'hook_attn_scores', 'hook_pattern', 'hook_z'];
const RESULTS = [...ATTENTION, 'hook_result'];
const CHANNEL_ATTENTION = [...QKV, 'hook_attn_scores', 'hook_channel_pattern', 'hook_z'];

/**
 * Returns the names of all hook points of a model. `hookPoints` lists them with their shapes, in execution order, which
 * takes a pass.
 */
export function hookNames({ vision, text }: Florence2Config): string[] {
  return [
    ...under('vision_tower', [
      'hook_pixels',
      ...vision.depths.flatMap((depth, stage) => [
        ...[...norm(`convs.${stage}.norm`), `convs.${stage}.hook_embed`],
        ...range(depth).flatMap(i => [
          ...under(`blocks.${stage}.${i}.spatial_block`, visionBlock('window_attn', ATTENTION)),
          ...under(`blocks.${stage}.${i}.channel_block`, visionBlock('channel_attn', CHANNEL_ATTENTION)),
        ]),
      ]),
    ]),
    ...under('multi_modal_projector', ['hook_pos_embed', 'hook_temporal_embed', 'hook_pooled', 'hook_projected']),
    ...under('multi_modal_projector', [...norm('image_proj_norm'), 'hook_image_features']),
    ...under('language_model.encoder', [
      'hook_embed',
      'hook_pos_embed',
      ...norm('layernorm_embedding'),
      ...layers(text.encoderLayers, ENCODER_LAYER),
    ]),
    ...under('language_model.decoder', [
      'hook_embed',
      'hook_pos_embed',
      ...norm('layernorm_embedding'),
      ...layers(text.decoderLayers, DECODER_LAYER),
    ]),
    'hook_logits',
  ];
}

function norm(module: string): string[] {
  return under(module, ['hook_scale', 'hook_normalized']);
}

const visionBlock = (attention: string, leaves: readonly string[]): string[] => [
  ...['hook_resid_pre', 'hook_conv1', ...norm('norm1'), ...under(attention, leaves), 'hook_attn_out', 'hook_resid_mid'],
  ...['hook_conv2', ...norm('norm2'), 'hook_post', 'hook_mlp_out', 'hook_resid_post'],
];

function under(module: string, leaves: readonly string[]): string[] {
  return leaves.map(leaf => `${module}.${leaf}`);
}

const SELF = [
  'hook_resid_pre',
  ...under('self_attn', RESULTS),
  'hook_attn_out',
  ...norm('self_attn_layer_norm'),
  'hook_resid_mid',
];
const CROSS = [
  ...under('encoder_attn', RESULTS),
  ...['hook_cross_attn_out', ...norm('encoder_attn_layer_norm'), 'hook_resid_mid_cross'],
];
const MLP = ['hook_post', 'hook_mlp_out', ...norm('final_layer_norm'), 'hook_resid_post'];
const ENCODER_LAYER = [...SELF, ...MLP];
const DECODER_LAYER = [...SELF, ...CROSS, ...MLP];

const layers = (count: number, leaves: readonly string[]): string[] =>
  range(count).flatMap(i => under(`layers.${i}`, leaves));

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
