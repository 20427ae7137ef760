import { Fields, isRecord } from '../json.ts';

/** Configuration of DaViT, the vision tower. Lists have one entry per stage. */
export interface VisionConfig {
  /** Kernel size of the convolution that begins the stage. */
  readonly patchSize: number[];
  /** Stride of that convolution. */
  readonly patchStride: number[];
  /** Zero padding of that convolution. */
  readonly patchPadding: number[];
  /** Whether the norm comes before that convolution (true) or after it (false). */
  readonly patchPrenorm: boolean[];
  /** Channels. */
  readonly dimEmbed: number[];
  /** Heads of window attention. */
  readonly numHeads: number[];
  /** Groups of channel attention. */
  readonly numGroups: number[];
  /** Number of blocks, each a spatial and a channel block. */
  readonly depths: number[];
  /** Side of an attention window, in positions of the map. */
  readonly windowSize: number;
  /** Width of the MLP's hidden layer as a multiple of the channels. */
  readonly mlpRatio: number;
  /** Stochastic depth of the last block in training; it rises linearly from 0 at the first. */
  readonly dropPathRate: number;
  /** Number of position embeddings for rows, and for columns. */
  readonly imagePositionEmbeddings: number;
  /** Number of temporal embeddings; an image uses the first. */
  readonly temporalEmbeddings: number;
}

/** Configuration of the language model, a BART encoder and decoder. */
export interface TextConfig {
  /** Rows of the embedding table: the tokens and, in native checkpoints, `<image>` and padding rows. */
  readonly vocabSize: number;
  /** Width of the hidden states. */
  readonly dModel: number;
  readonly encoderLayers: number;
  /** Heads of each attention in the encoder. */
  readonly encoderAttentionHeads: number;
  /** Width of the MLP's hidden layer in the encoder. */
  readonly encoderFfnDim: number;
  readonly decoderLayers: number;
  /** Heads of each attention in the decoder. */
  readonly decoderAttentionHeads: number;
  /** Width of the MLP's hidden layer in the decoder. */
  readonly decoderFfnDim: number;
  /** Longest input in tokens, image tokens included. The position tables have two more rows. */
  readonly maxPositionEmbeddings: number;
  /** Whether token embeddings are multiplied by sqrt(dModel). */
  readonly scaleEmbedding: boolean;
  /** Dropout of hidden states in training. */
  readonly dropout: number;
  /** Dropout of attention weights in training. */
  readonly attentionDropout: number;
  /** Dropout after the MLP's activation in training. */
  readonly activationDropout: number;
  readonly padTokenId: number;
  readonly bosTokenId: number;
  readonly eosTokenId: number;
  /** First input of the decoder. */
  readonly decoderStartTokenId: number;
  /** The value in the file. The checkpoint's tensors decide whether the head is tied. */
  readonly tieWordEmbeddings: boolean;
}

/** Configuration of a Florence-2 model, from config.json. */
export interface Florence2Config {
  readonly vision: VisionConfig;
  readonly text: TextConfig;
  /** Width of the image features: always text.dModel, because they are concatenated with the prompt's embeddings. */
  readonly projectionDim: number;
  /** Id of the image token in native checkpoints; null in Microsoft's, which have none. */
  readonly imageTokenId: number | null;
  /** Which code the config.json is written for: Microsoft's, or transformers' native Florence-2. */
  readonly dialect: 'microsoft' | 'native';
}

/**
 * Parses config.json, in Microsoft's dialect or that of transformers' native Florence-2. Fields that determine the
 * model's structure are required. Unsupported settings are refused.
 *
 * @param json the parsed file
 * @param file its path, for messages
 * @throws Florence2Error naming the file, the field and what was expected
 */
export function parseConfig(json: unknown, file = 'config.json'): Florence2Config {
  const root = new Fields(isRecord(json) ? json : {}, file);
  root.only('model_type', ['florence2'], 'this is another kind of model');
  const visionFields = root.object('vision_config');
  const dialect = visionFields.has('dim_embed') ? 'microsoft' : 'native';
  if (dialect === 'native' && !visionFields.has('embed_dim')) {
    visionFields.fail(
      'dim_embed',
      "is missing, and so is embed_dim: this is neither Microsoft's nor transformers' config",
    );
  }
  const vision = parseVision(visionFields, dialect);
  const text = parseText(root, root.object('text_config'));
  const projectionDim = parseProjectionDim(root, visionFields, text.dModel);
  const imageTokenId = dialect === 'native' ? root.integer('image_token_id', 0) : null;
  if (imageTokenId !== null && imageTokenId >= text.vocabSize) {
    root.fail('image_token_id', `is ${imageTokenId}, but text_config.vocab_size is ${text.vocabSize}`);
  }
  return { vision, text, projectionDim, imageTokenId, dialect };
}

/** Limit on layers and blocks, far above real models. It bounds the model that a damaged config can request. */
const mostLayers = 1000;

function parseVision(f: Fields, dialect: Florence2Config['dialect']): VisionConfig {
  const dims = dialect === 'microsoft' ? 'dim_embed' : 'embed_dim';
  f.only('in_channels', [3], 'images are RGB');
  f.only('activation_function', ['gelu'], 'DaViT is implemented with the exact GELU');
  f.only('qkv_bias', [true], 'DaViT is implemented with a bias in qkv');
  const config = {
    patchSize: f.integers('patch_size', 1),
    patchStride: f.integers('patch_stride', 1),
    patchPadding: f.integers('patch_padding', 0),
    patchPrenorm: f.booleans('patch_prenorm'),
    dimEmbed: f.integers(dims, 1),
    numHeads: f.integers('num_heads', 1),
    numGroups: f.integers('num_groups', 1),
    depths: f.integers('depths', 1),
    windowSize: f.integer('window_size', 1),
    mlpRatio: f.number('mlp_ratio', 4),
    dropPathRate: f.rate('drop_path_rate', 0.1),
    ...(dialect === 'microsoft' ? microsoftEmbeddings(f) : nativeEmbeddings(f)),
  };
  if (config.mlpRatio <= 0) f.fail('mlp_ratio', `is ${config.mlpRatio}, expected a number above 0`);
  const stages = config.dimEmbed.length;
  const { patchSize, patchStride, patchPadding, patchPrenorm, numHeads, numGroups, depths } = config;
  for (const [name, list] of Object.entries({
    ...{ patch_size: patchSize, patch_stride: patchStride, patch_padding: patchPadding, patch_prenorm: patchPrenorm },
    ...{ num_heads: numHeads, num_groups: numGroups, depths },
  })) {
    if (list.length !== stages) f.fail(name, `has ${list.length} entries, ${dims} has ${stages}`);
  }
  depths.forEach((depth, stage) => {
    if (depth > mostLayers) f.fail(`depths[${stage}]`, `is ${depth}, expected at most ${mostLayers}`);
  });
  config.dimEmbed.forEach((dim, stage) => {
    const parts = { num_heads: numHeads[stage], num_groups: numGroups[stage] };
    for (const [name, n] of Object.entries(parts)) {
      if (dim % n !== 0) f.fail(`${name}[${stage}]`, `is ${n}, which does not divide ${dims}[${stage}] = ${dim}`);
    }
  });
  return config;
}

function microsoftEmbeddings(f: Fields) {
  const temporal = f.object('visual_temporal_embedding');
  const positions = f.object('image_pos_embed');
  temporal.string('type', ['COSINE']);
  positions.string('type', ['learned_abs_2d']);
  f.only('image_feature_source', [['spatial_avg_pool', 'temporal_avg_pool']], 'the mean token, then all positions');
  return {
    imagePositionEmbeddings: positions.integer('max_pos_embeddings', 1),
    temporalEmbeddings: temporal.integer('max_temporal_embeddings', 1),
  };
}

function nativeEmbeddings(f: Fields) {
  return {
    imagePositionEmbeddings: f.integer('max_position_embeddings', 1),
    temporalEmbeddings: f.integer('max_temporal_embeddings', 1),
  };
}

function parseText(root: Fields, f: Fields): TextConfig {
  f.only('activation_function', ['gelu'], 'the language model is implemented with the exact GELU');
  f.only('normalize_before', [false], 'norms come after the residual in Florence-2');
  f.only('add_final_layer_norm', [false], 'Florence-2 has no final norm');
  const vocabSize = f.integer('vocab_size', 1);
  const tokenId = (name: string, own: number): number => {
    const fields = f.has(name) ? f : root;
    const id = fields.integer(name, 0, own);
    if (id >= vocabSize) fields.fail(name, `is ${id}, but text_config.vocab_size is ${vocabSize}`);
    return id;
  };
  const dModel = f.integer('d_model', 1);
  const heads = (name: string): number => {
    const n = f.integer(name, 1);
    if (dModel % n !== 0) f.fail(name, `is ${n}, which does not divide d_model = ${dModel}`);
    return n;
  };
  const layers = (name: string): number => {
    const n = f.integer(name, 1);
    return n <= mostLayers ? n : f.fail(name, `is ${n}, expected at most ${mostLayers}`);
  };
  return {
    vocabSize,
    dModel,
    encoderLayers: layers('encoder_layers'),
    encoderAttentionHeads: heads('encoder_attention_heads'),
    encoderFfnDim: f.integer('encoder_ffn_dim', 1),
    decoderLayers: layers('decoder_layers'),
    decoderAttentionHeads: heads('decoder_attention_heads'),
    decoderFfnDim: f.integer('decoder_ffn_dim', 1),
    maxPositionEmbeddings: f.integer('max_position_embeddings', 1),
    scaleEmbedding: f.boolean('scale_embedding', false),
    dropout: f.rate('dropout', 0.1),
    attentionDropout: f.rate('attention_dropout', 0),
    activationDropout: f.rate('activation_dropout', 0),
    padTokenId: tokenId('pad_token_id', 1),
    bosTokenId: tokenId('bos_token_id', 0),
    eosTokenId: tokenId('eos_token_id', 2),
    decoderStartTokenId: tokenId('decoder_start_token_id', 2),
    tieWordEmbeddings: (root.has('tie_word_embeddings') ? root : f).boolean('tie_word_embeddings', true),
  };
}

function parseProjectionDim(root: Fields, vision: Fields, dModel: number): number {
  for (const fields of [root, vision]) {
    if (!fields.has('projection_dim')) continue;
    const dim = fields.integer('projection_dim', 1);
    if (dim !== dModel) {
      fields.fail(
        'projection_dim',
        `is ${dim}, but text_config.d_model is ${dModel}: image features and prompt embeddings must have one width`,
      );
    }
  }
  return dModel;
}
