import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseAdapterConfig } from '../../src/adapters/config.ts';
import { refuses } from '../weights/temporary.ts';

const plain = { peft_type: 'LORA', r: 4, lora_alpha: 6, target_modules: ['q_proj'] };
const parse = (config: unknown) => parseAdapterConfig(JSON.stringify(config), 'lora/adapter_config.json');

test('parses all supported fields', () => {
  const config = {
    ...plain,
    lora_dropout: 0.1,
    use_rslora: true,
    rank_pattern: { 'layers.0.fc1': 2 },
    alpha_pattern: { fc2: 3.5 },
    bias: 'lora_only',
    modules_to_save: ['lm_head'],
    init_lora_weights: 'gaussian',
  };
  assert.equal(parse(config), {
    settings: { r: 4, alpha: 6, dropout: 0.1, rsLora: true, init: 'gaussian', bias: 'lora_only' },
    rankPattern: { 'layers.0.fc1': 2 },
    alphaPattern: { fc2: 3.5 },
    modulesToSave: ['lm_head'],
    dora: false,
  });
});

test("missing fields have PEFT's defaults", () => {
  assert.equal(parse({ peft_type: 'LORA' }), {
    settings: { r: 8, alpha: 8, dropout: 0, rsLora: false, init: 'kaiming', bias: 'none' },
    rankPattern: {},
    alphaPattern: {},
    modulesToSave: [],
    dora: false,
  });
  assert.is(parse({ peft_type: 'LORA', use_dora: true }).dora, true);
});

test('descriptive and unset fields are ignored, also unknown ones of later versions', () => {
  const unset = { use_dora: false, eva_config: null, loftq_config: {}, target_parameters: [], new_idea: false };
  const descriptive = { peft_version: '0.21.2', megatron_core: 'megatron.core', qalora_group_size: 16, inference_mode: true, layers_to_transform: [1], task_type: 'SEQ_2_SEQ_LM' }; // biome-ignore format: one line
  assert.equal(parse({ ...plain, ...unset, ...descriptive }), parse(plain));
});

const refused: [what: string, fields: object, problem: RegExp][] = [
  ['a different method', { peft_type: 'IA3' }, /peft_type is "IA3", expected "LORA"/],
  ['a missing method', { peft_type: null }, /peft_type is missing/],
  ['QALoRA', { use_qalora: true }, /use_qalora is true, which is not supported: QALoRA/],
  ['biases of B', { lora_bias: true }, /lora_bias is true/],
  ['trained tokens', { trainable_token_indices: [5, 6] }, /trainable_token_indices is \[5,6\].*rows of the embeddings/],
  ['repeated layers', { layer_replication: [[0, 2]] }, /layer_replication is \[\[0,2\]\].*layers of the model are repeated/], // biome-ignore format: one line
  ['a field of a later version', { new_idea: { of: 1 } }, /new_idea is \{"of":1\}.*the field is unknown/],
  ['an initialisation that changes the base weights', { init_lora_weights: 'pissa_niter_4' }, /init_lora_weights is "pissa_niter_4", which changes the base weights/], // biome-ignore format: one line
  ['a rank of 0', { r: 0 }, /r is 0, expected a whole number of at least 1/],
  ['an alpha that is a string', { lora_alpha: 'six' }, /lora_alpha is "six", expected a number/],
  ['a dropout rate of 1', { lora_dropout: 1 }, /lora_dropout is 1, expected at least 0 and below 1/],
  ['an unknown bias', { bias: 'some' }, /bias is "some", expected "none" or/],
  ['a fractional rank', { rank_pattern: { fc1: 2.5 } }, /rank_pattern has the invalid value 2\.5 for fc1/],
  ['a list of ranks', { rank_pattern: [2] }, /rank_pattern is \[2\], expected an object of numbers by module name/],
  ['an invalid expression', { alpha_pattern: { '(fc1': 2 } }, /alpha_pattern has "\(fc1", which is not a valid regular expression/], // biome-ignore format: one line
  ['a module as a string', { modules_to_save: 'lm_head' }, /modules_to_save is "lm_head", expected a list of names/],
];
for (const [what, fields, problem] of refused) {
  test(`refused: ${what}`, () =>
    refuses(what, () => parse({ ...plain, ...fields }), 'lora/adapter_config.json', problem));
}

test('refused: text that is not a JSON object', async () => {
  for (const text of ['', '[]', '{"r": 4', 'null']) {
    await refuses(text, () => parseAdapterConfig(text, 'adapter_config.json'), 'adapter_config.json', /JSON|expected an object/); // biome-ignore format: one line
  }
});

test.run();
