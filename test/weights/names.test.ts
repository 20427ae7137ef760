import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { canonicalName, toMicrosoft, toNative } from '../../src/weights/names.ts';
import { hasReference, referenceJson } from '../reference.ts';

const variants = ['tiny', 'tiny-pad', 'tiny-large'].filter(name => hasReference(`model/${name}/names.json`));
const tied = /^language_model\.encoder\.embed_tokens\.weight$/;

for (const variant of variants) {
  test(`every tensor name of ${variant} maps to its canonical name and back, in both layouts`, () => {
    const rows: { hf: string; microsoft: string; transposed: boolean }[] = referenceJson(`model/${variant}/names.json`);
    assert.ok(rows.length > 200);
    const seen = new Set<string>();
    for (const { hf, microsoft, transposed } of rows) {
      const canonical = hf.replace(/^model\./, '');
      if (tied.test(canonical)) {
        assert.is(canonicalName(hf)?.dropped, canonicalName(microsoft)?.dropped, hf);
        assert.match(canonicalName(hf)?.dropped ?? '', /copy of language_model\.shared\.weight/);
      } else {
        assert.equal(canonicalName(hf), { name: canonical, transposed: false }, hf);
        assert.equal(canonicalName(microsoft), { name: canonical, transposed }, microsoft);
        assert.equal(canonicalName(canonical), { name: canonical, transposed: false }, canonical);
      }
      assert.is(toMicrosoft(canonical), microsoft);
      assert.is(toNative(canonical), hf);
      seen.add(canonical);
    }
    assert.is(seen.size, rows.length);
  });
}

test('names that are not in the table', () => {
  const attn = 'language_model.decoder.layers.3.encoder_attn.q_proj';
  const qkv = 'vision_tower.blocks.2.4.spatial_block.window_attn.qkv';
  const head = 'vision_tower.blocks.2.4.spatial_block.window_attn';
  const cases: [file: string, canonical: string | undefined][] = [
    ['language_model.final_logits_bias', 'final_logits_bias'],
    ['final_logits_bias', 'final_logits_bias'],
    ['base_model.model.lm_head.base_layer.weight', 'lm_head.base_layer.weight'],
    ['base_model.model.language_model.lm_head.lora_A.weight', 'lm_head.lora_A.weight'],
    [
      'base_model.model.model.language_model.decoder.layers.3.encoder_attn.q_proj.lora_A.weight',
      `${attn}.lora_A.weight`,
    ],
    [
      'base_model.model.language_model.model.decoder.layers.3.encoder_attn.q_proj.lora_B.weight',
      `${attn}.lora_B.weight`,
    ],
    [`base_model.model.${head}.fn.qkv.lora_A.weight`, `${qkv}.lora_A.weight`],
    [`base_model.model.model.${qkv}.lora_A.weight`, `${qkv}.lora_A.weight`],
    [`${head}.fn.qkv`, qkv],
    [`model.${qkv}`, qkv],
    ['language_model.model.decoder.layers.03.fc1.weight', undefined],
    ['language_model.model.decoder.layers.N.fc1.weight', undefined],
    ['language_model.model.decoder.layers.1.fc3.weight', undefined],
    ['language_model.model.encoder.layers.1.encoder_attn.q_proj.weight', undefined],
    [`${head}.norm3.weight`, undefined],
    ['vision_tower.head.weight', undefined],
    ['optimizer.state', undefined],
    ['image_projection.bias', undefined],
    ['constructor', undefined],
    ['', undefined],
  ];
  for (const [file, canonical] of cases) assert.is(canonicalName(file)?.name, canonical, file);
  assert.throws(() => toMicrosoft('nothing.weight'), /nothing\.weight is not a canonical/);
  assert.throws(() => toNative('model.lm_head.weight'), /model\.lm_head\.weight is not a canonical/);
});

test('modules that adapters wrap have names in both layouts', () => {
  assert.is(toMicrosoft('lm_head'), 'language_model.lm_head');
  assert.is(toNative('lm_head.lora_A.weight'), 'lm_head.lora_A.weight');
  assert.is(
    toMicrosoft('vision_tower.blocks.0.1.channel_block.ffn.fc2.lora_B.weight'),
    'vision_tower.blocks.0.1.channel_block.ffn.fn.net.fc2.lora_B.weight',
  );
  assert.is(toNative('language_model.shared'), 'model.language_model.shared');
});

test.run();
