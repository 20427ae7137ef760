import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseConfig } from '../../src/config/model.ts';
import { hasReference, referenceJson } from '../reference.ts';
import { literally, refuses } from '../weights/temporary.ts';

type Json = Record<string, unknown>;

const microsoft = (): Json => referenceJson('model/tiny-pad/microsoft/config.json');
const native = (): Json => referenceJson('model/tiny-pad/hf/config.json');

/** Returns a copy with the field at a path set, or removed if the value is undefined. */
function change(json: Json, path: string, value: unknown): Json {
  const copy = structuredClone(json);
  const keys = path.split('.');
  const at = keys.slice(0, -1).reduce<Json>((object, key) => object[key] as Json, copy);
  if (value === undefined) delete at[keys.at(-1)!];
  else at[keys.at(-1)!] = value;
  return copy;
}

const variants = ['tiny', 'tiny-pad', 'tiny-large'].filter(name => hasReference(`model/${name}/hf/config.json`));
for (const variant of variants) {
  test(`both dialects of ${variant} match its specification`, () => {
    const { spec, image_token_id: imageToken, hf_vocab: nativeVocab } = referenceJson(`model/${variant}/manifest.json`);
    for (const dialect of ['microsoft', 'native'] as const) {
      const folder = dialect === 'native' ? 'hf' : 'microsoft';
      const config = parseConfig(referenceJson(`model/${variant}/${folder}/config.json`));
      assert.equal(config, {
        vision: {
          ...{ patchSize: [7, 3, 3, 3], patchStride: [4, 2, 2, 2], patchPadding: [3, 1, 1, 1] },
          ...{ patchPrenorm: [false, true, true, true], dimEmbed: spec.dim_embed, numHeads: spec.num_heads },
          ...{ numGroups: spec.num_groups, depths: spec.depths, windowSize: spec.window, mlpRatio: 4 },
          ...{ dropPathRate: 0.1, imagePositionEmbeddings: spec.image_pos, temporalEmbeddings: spec.temporal },
        },
        text: {
          ...{ vocabSize: dialect === 'native' ? nativeVocab : spec.vocab, dModel: spec.d_model },
          ...{ encoderLayers: spec.enc_layers, encoderAttentionHeads: spec.enc_heads, encoderFfnDim: spec.enc_ffn },
          ...{ decoderLayers: spec.dec_layers, decoderAttentionHeads: spec.dec_heads, decoderFfnDim: spec.dec_ffn },
          ...{ maxPositionEmbeddings: spec.max_pos, scaleEmbedding: false, dropout: 0.1, attentionDropout: 0.1 },
          ...{ activationDropout: 0.1, padTokenId: 1, bosTokenId: 0, eosTokenId: 2, decoderStartTokenId: 2 },
          tieWordEmbeddings: true,
        },
        projectionDim: spec.d_model,
        imageTokenId: dialect === 'native' ? imageToken : null,
        dialect,
      });
    }
  });
}

test('variations of real config.json files are accepted', () => {
  const plain = parseConfig(microsoft());
  const same: [path: string, value: unknown][] = [
    ['text_config.bos_token_id', null],
    ['text_config.eos_token_id', null],
    ['text_config.pad_token_id', undefined],
    ['bos_token_id', null],
    ['torch_dtype', 'float16'],
    ['text_config.torch_dtype', 'bfloat16'],
    ['text_config.some_new_field', { a: [1] }],
    ['vision_config.model_type', ''],
    ['vision_config.image_feature_source', undefined],
    ['vision_config.projection_dim', undefined],
    ['projection_dim', undefined],
    ['text_config.activation_function', undefined],
    ['text_config.vocab_size', JSON.parse('1460.0')],
    ['model_type', undefined],
  ];
  for (const [path, value] of same) assert.equal(parseConfig(change(microsoft(), path, value)), plain, path);
  assert.is(
    parseConfig(change(change(microsoft(), 'text_config.eos_token_id', null), 'eos_token_id', 7)).text.eosTokenId,
    7,
  );
  assert.is(parseConfig(change(microsoft(), 'text_config.scale_embedding', true)).text.scaleEmbedding, true);
  assert.is(parseConfig(change(microsoft(), 'tie_word_embeddings', false)).text.tieWordEmbeddings, false);
  assert.is(parseConfig(change(native(), 'vision_config.mlp_ratio', 3)).vision.mlpRatio, 3);
});

const refusedConfigs: [json: Json, problem: string][] = [
  [{}, 'vision_config is missing, expected an object.'],
  [{ model_type: 'llava' }, 'model_type is "llava"; only "florence2" is supported: this is another kind of model.'],
  [change(microsoft(), 'vision_config', 'davit'), 'vision_config is "davit", expected an object.'],
  [change(microsoft(), 'text_config', undefined), 'text_config is missing, expected an object.'],
  [
    change(microsoft(), 'vision_config.dim_embed', undefined),
    'vision_config.dim_embed is missing, and so is embed_dim',
  ],
  [
    change(microsoft(), 'vision_config.dim_embed', []),
    'vision_config.dim_embed is [], expected a list of whole numbers of at least 1.',
  ],
  [
    change(microsoft(), 'vision_config.dim_embed', [12, 24, 24, -40]),
    'vision_config.dim_embed is [12,24,24,-40], expected a list',
  ],
  [change(microsoft(), 'vision_config.depths', [1, 2, 1]), 'vision_config.depths has 3 entries, dim_embed has 4.'],
  [change(native(), 'vision_config.depths', [1, 2, 1, 1, 1]), 'vision_config.depths has 5 entries, embed_dim has 4.'],
  [
    change(microsoft(), 'vision_config.patch_prenorm', [false]),
    'vision_config.patch_prenorm has 1 entries, dim_embed has 4.',
  ],
  [
    change(microsoft(), 'vision_config.patch_prenorm', [0, 1, 1, 1]),
    'vision_config.patch_prenorm is [0,1,1,1], expected a list of true and false.',
  ],
  [
    change(microsoft(), 'vision_config.patch_stride', [4, 0, 2, 2]),
    'vision_config.patch_stride is [4,0,2,2], expected',
  ],
  [
    change(microsoft(), 'vision_config.num_heads', [3, 4, 2, 7]),
    'vision_config.num_heads[3] is 7, which does not divide dim_embed[3] = 40.',
  ],
  [
    change(native(), 'vision_config.num_groups', [5, 3, 6, 4]),
    'vision_config.num_groups[0] is 5, which does not divide embed_dim[0] = 12.',
  ],
  [
    change(microsoft(), 'vision_config.window_size', 2.5),
    'vision_config.window_size is 2.5, expected a whole number of at least 1.',
  ],
  [change(microsoft(), 'vision_config.window_size', '5'), 'vision_config.window_size is "5", expected a whole number'],
  [
    change(microsoft(), 'vision_config.drop_path_rate', 1),
    'vision_config.drop_path_rate is 1, expected at least 0 and below 1.',
  ],
  [
    change(microsoft(), 'vision_config.image_pos_embed', null),
    'vision_config.image_pos_embed is missing, expected an object.',
  ],
  [
    change(microsoft(), 'vision_config.image_pos_embed.type', 'sinusoid'),
    'vision_config.image_pos_embed.type is "sinusoid", expected "learned_abs_2d".',
  ],
  [
    change(microsoft(), 'vision_config.image_pos_embed.max_pos_embeddings', undefined),
    'vision_config.image_pos_embed.max_pos_embeddings is missing',
  ],
  [
    change(microsoft(), 'vision_config.visual_temporal_embedding.type', 'LEARNED'),
    'visual_temporal_embedding.type is "LEARNED", expected "COSINE".',
  ],
  [
    change(microsoft(), 'vision_config.image_feature_source', ['last_frame']),
    'vision_config.image_feature_source is ["last_frame"]; only ["spatial_avg_pool","temporal_avg_pool"] is supported',
  ],
  [
    change(native(), 'vision_config.activation_function', 'gelu_new'),
    'vision_config.activation_function is "gelu_new"; only "gelu"',
  ],
  [change(native(), 'vision_config.qkv_bias', false), 'vision_config.qkv_bias is false; only true is supported'],
  [
    change(native(), 'vision_config.in_channels', 4),
    'vision_config.in_channels is 4; only 3 is supported: images are RGB.',
  ],
  [change(native(), 'vision_config.mlp_ratio', 0), 'vision_config.mlp_ratio is 0, expected a number above 0.'],
  [
    change(native(), 'vision_config.max_temporal_embeddings', undefined),
    'vision_config.max_temporal_embeddings is missing',
  ],
  [change(native(), 'image_token_id', undefined), 'image_token_id is missing, expected a whole number of at least 0.'],
  [change(native(), 'image_token_id', 51289), 'image_token_id is 51289, but text_config.vocab_size is 1460.'],
  [
    change(microsoft(), 'text_config.activation_function', 'relu'),
    'text_config.activation_function is "relu"; only "gelu" is supported',
  ],
  [change(microsoft(), 'text_config.normalize_before', true), 'text_config.normalize_before is true; only false'],
  [
    change(microsoft(), 'text_config.add_final_layer_norm', true),
    'text_config.add_final_layer_norm is true; only false',
  ],
  [
    change(microsoft(), 'text_config.scale_embedding', 'no'),
    'text_config.scale_embedding is "no", expected true or false.',
  ],
  [
    change(microsoft(), 'text_config.d_model', undefined),
    'text_config.d_model is missing, expected a whole number of at least 1.',
  ],
  [
    change(microsoft(), 'text_config.encoder_attention_heads', 5),
    'text_config.encoder_attention_heads is 5, which does not divide d_model = 48.',
  ],
  [change(microsoft(), 'text_config.decoder_attention_heads', 0), 'text_config.decoder_attention_heads is 0, expected'],
  [change(microsoft(), 'text_config.decoder_layers', -1), 'text_config.decoder_layers is -1, expected'],
  [
    change(microsoft(), 'text_config.encoder_layers', 1e9),
    'text_config.encoder_layers is 1000000000, expected at most 1000.',
  ],
  [
    change(native(), 'vision_config.depths', [1, 1, 1e9, 1]),
    'vision_config.depths[2] is 1000000000, expected at most 1000.',
  ],
  [change(microsoft(), 'text_config.vocab_size', 2 ** 53), 'text_config.vocab_size is 9007199254740992, expected'],
  [change(microsoft(), 'text_config.dropout', -0.1), 'text_config.dropout is -0.1, expected at least 0 and below 1.'],
  [
    change(microsoft(), 'text_config.eos_token_id', 1460),
    'text_config.eos_token_id is 1460, but text_config.vocab_size is 1460.',
  ],
  [change(change(microsoft(), 'text_config.pad_token_id', null), 'pad_token_id', -1), 'pad_token_id is -1, expected'],
  [
    change(microsoft(), 'projection_dim', 64),
    'projection_dim is 64, but text_config.d_model is 48: image features and prompt embeddings must have one width.',
  ],
  [change(microsoft(), 'vision_config.projection_dim', 64), 'vision_config.projection_dim is 64, but'],
];

test('unsupported and invalid config.json files are refused', async () => {
  for (const [json, problem] of refusedConfigs) {
    // A round trip through JSON, so that only values that a file can contain reach the parser.
    const parsed = JSON.parse(JSON.stringify(json));
    await refuses(
      problem,
      () => parseConfig(parsed, '/m/config.json'),
      '/m/config.json: ',
      new RegExp(literally(problem)),
    );
  }
});

test.run();
