import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dumpForm, dumpPoint } from '../../src/activations/dump_names.ts';

test('names of dumps and hook points convert to each other', () => {
  for (const name of [
    'vision.stage2.block1.channel.ffn',
    'decoder.layer11.cross_attn_weights',
    'encoder.embed',
    'logits',
  ]) {
    const { point } = dumpPoint(name)!;
    assert.is(dumpForm(point, [1, 2, 2, 4])?.name, name);
  }
  assert.is(dumpForm('language_model.decoder.layers.1.hook_post', [1, 2, 4]), undefined);
});

test.run();
