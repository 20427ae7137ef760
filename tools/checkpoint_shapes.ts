import type { CheckpointLayout } from '../src/checkpoint/stored_tensors.ts';

/** Sizes of a Florence-2 model. */
export interface Shape {
  dimEmbed: number[];
  heads: number[];
  depths: number[];
  window: number;
  /** Strides of the convolutions that open the stages. Default 4, 2, 2, 2, as in Florence-2. */
  strides?: number[];
  dModel: number;
  layers: number;
  textHeads: number;
  ffn: number;
  maxPositions: number;
  /** Side in pixels to which images are resized. */
  imageSize: number;
  /** Rate of dropout, and of DaViT's drop path. Default 0.1. */
  dropout?: number;
  /** Added to the logit of `</s>` in random weights. With 0, their answers continue to the token limit. */
  endBoost: number;
}

/** Sizes of the published models, and a tiny one for tests. */
export const shapes = {
  tiny: {
    ...{ dimEmbed: [32, 48, 80, 112], heads: [2, 3, 5, 7], depths: [1, 1, 1, 1], window: 4 },
    ...{ dModel: 80, layers: 2, textHeads: 4, ffn: 320, maxPositions: 1024, imageSize: 128, endBoost: 6 },
  },
  base: {
    ...{ dimEmbed: [128, 256, 512, 1024], heads: [4, 8, 16, 32], depths: [1, 1, 9, 1], window: 12 },
    ...{ dModel: 768, layers: 6, textHeads: 12, ffn: 3072, maxPositions: 1024, imageSize: 768, endBoost: 0 },
  },
  large: {
    ...{ dimEmbed: [256, 512, 1024, 2048], heads: [8, 16, 32, 64], depths: [1, 1, 9, 1], window: 12 },
    ...{ dModel: 1024, layers: 12, textHeads: 16, ffn: 4096, maxPositions: 1024, imageSize: 768, endBoost: 0 },
  },
} satisfies Record<string, Shape>;

export type ShapeName = keyof typeof shapes;

/** Returns config.json for a tokenizer of `tokens` tokens, in the dialect of the layout. */
export function configJson(
  shape: Shape,
  layout: CheckpointLayout,
  tokens: number,
  dtype: 'float32' | 'float16',
): object {
  const { strides = [4, 2, 2, 2], dropout = 0.1 } = shape;
  const ids = { bos_token_id: 0, pad_token_id: 1, eos_token_id: 2 };
  const vision = {
    ...{ patch_size: [7, 3, 3, 3], patch_stride: strides, patch_padding: [3, 1, 1, 1] },
    ...{ patch_prenorm: [false, true, true, true], num_heads: shape.heads, num_groups: shape.heads },
    ...{ depths: shape.depths, window_size: shape.window, drop_path_rate: dropout, projection_dim: shape.dModel },
  };
  const text = {
    ...{ d_model: shape.dModel, encoder_layers: shape.layers, decoder_layers: shape.layers },
    ...{ encoder_attention_heads: shape.textHeads, decoder_attention_heads: shape.textHeads },
    ...{ encoder_ffn_dim: shape.ffn, decoder_ffn_dim: shape.ffn, max_position_embeddings: shape.maxPositions },
    ...{ activation_function: 'gelu', dropout, attention_dropout: dropout, activation_dropout: dropout },
    ...{ scale_embedding: false, is_encoder_decoder: true, decoder_start_token_id: 2, ...ids },
  };
  const common = {
    ...{
      architectures: ['Florence2ForConditionalGeneration'],
      model_type: 'florence2',
      is_encoder_decoder: true,
      ...ids,
    },
  };
  if (layout === 'native') {
    const vocab = Math.ceil((tokens + 1) / 64) * 64; // <image> and padding, as in the public conversions
    const native = { qkv_bias: true, activation_function: 'gelu', in_channels: 3 };
    return {
      ...{ ...common, dtype, image_token_id: tokens, tie_word_embeddings: true },
      text_config: { model_type: 'bart', vocab_size: vocab, ...text },
      vision_config: {
        ...{ model_type: 'florence_vision', embed_dim: shape.dimEmbed, ...vision, ...native },
        ...{ max_position_embeddings: 50, max_temporal_embeddings: 100 },
      },
    };
  }
  return {
    ...{ ...common, torch_dtype: dtype, projection_dim: shape.dModel, vocab_size: tokens },
    text_config: { model_type: 'florence2_language', vocab_size: tokens, ...text, normalize_before: false },
    vision_config: {
      ...{ model_type: 'davit', dim_embed: shape.dimEmbed, ...vision },
      visual_temporal_embedding: { type: 'COSINE', max_temporal_embeddings: 100 },
      image_pos_embed: { type: 'learned_abs_2d', max_pos_embeddings: 50 },
      image_feature_source: ['spatial_avg_pool', 'temporal_avg_pool'],
    },
  };
}

/** Florence-2's generation_config.json. */
export const generationJson = {
  ...{ bos_token_id: 0, pad_token_id: 1, eos_token_id: 2, decoder_start_token_id: 2 },
  ...{ forced_bos_token_id: 0, forced_eos_token_id: 2, num_beams: 3, early_stopping: true, no_repeat_ngram_size: 3 },
};

export const preprocessorJson = ({ imageSize }: Shape): object => ({
  ...{ image_processor_type: 'CLIPImageProcessor', do_resize: true, do_rescale: true, do_normalize: true },
  ...{ do_center_crop: false, size: { height: imageSize, width: imageSize }, resample: 3, rescale_factor: 1 / 255 },
  ...{ image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225] },
});
