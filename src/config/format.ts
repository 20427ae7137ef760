import type { Florence2Config, TextConfig, VisionConfig } from './model.ts';

/**
 * Returns the contents of a config.json, which `parseConfig` reads as an equal config.
 *
 * @param config its `dialect` decides which code the file is for; for transformers' it must have an `imageTokenId`
 */
export function formatConfig(config: Florence2Config): Record<string, unknown> {
  const { dialect, vision, text, projectionDim } = config;
  const ids = { bos_token_id: text.bosTokenId, pad_token_id: text.padTokenId, eos_token_id: text.eosTokenId };
  const common = {
    ...{ architectures: ['Florence2ForConditionalGeneration'], model_type: 'florence2', is_encoder_decoder: true },
    ...{ ...ids, tie_word_embeddings: text.tieWordEmbeddings },
  };
  const visionFields = { ...formatVision(vision), projection_dim: projectionDim };
  const textFields = { ...formatText(text), ...ids, is_encoder_decoder: true };
  if (dialect === 'native') {
    return {
      ...{ ...common, image_token_id: config.imageTokenId },
      text_config: { model_type: 'bart', ...textFields },
      vision_config: {
        ...{ model_type: 'florence_vision', embed_dim: vision.dimEmbed, ...visionFields },
        ...{ qkv_bias: true, activation_function: 'gelu', in_channels: 3 },
        max_position_embeddings: vision.imagePositionEmbeddings,
        max_temporal_embeddings: vision.temporalEmbeddings,
      },
    };
  }
  return {
    ...{ ...common, auto_map: MICROSOFT_CODE, projection_dim: projectionDim, vocab_size: text.vocabSize },
    text_config: { model_type: 'florence2_language', ...textFields, normalize_before: false },
    vision_config: {
      ...{ model_type: 'davit', dim_embed: vision.dimEmbed, ...visionFields },
      visual_temporal_embedding: { type: 'COSINE', max_temporal_embeddings: vision.temporalEmbeddings },
      image_pos_embed: { type: 'learned_abs_2d', max_pos_embeddings: vision.imagePositionEmbeddings },
      image_feature_source: ['spatial_avg_pool', 'temporal_avg_pool'],
    },
  };
}

/** Where transformers finds Microsoft's code for a checkpoint without Python files. */
const MICROSOFT_CODE = {
  AutoConfig: 'microsoft/Florence-2-base--configuration_florence2.Florence2Config',
  AutoModelForCausalLM: 'microsoft/Florence-2-base--modeling_florence2.Florence2ForConditionalGeneration',
};

/** The fields that have the same names in both dialects. */
const formatVision = (vision: VisionConfig): object => ({
  ...{ patch_size: vision.patchSize, patch_stride: vision.patchStride, patch_padding: vision.patchPadding },
  ...{ patch_prenorm: vision.patchPrenorm, num_heads: vision.numHeads, num_groups: vision.numGroups },
  ...{ depths: vision.depths, window_size: vision.windowSize },
  ...(vision.mlpRatio === 4 ? {} : { mlp_ratio: vision.mlpRatio }), // transformers refuses 4, which is not 4.0
  drop_path_rate: vision.dropPathRate,
});

const formatText = (text: TextConfig): object => ({
  ...{ vocab_size: text.vocabSize, d_model: text.dModel },
  ...{ encoder_layers: text.encoderLayers, decoder_layers: text.decoderLayers },
  ...{ encoder_attention_heads: text.encoderAttentionHeads, decoder_attention_heads: text.decoderAttentionHeads },
  ...{ encoder_ffn_dim: text.encoderFfnDim, decoder_ffn_dim: text.decoderFfnDim },
  ...{ max_position_embeddings: text.maxPositionEmbeddings, activation_function: 'gelu' },
  ...{ dropout: text.dropout, attention_dropout: text.attentionDropout, activation_dropout: text.activationDropout },
  ...{ scale_embedding: text.scaleEmbedding, decoder_start_token_id: text.decoderStartTokenId },
});
