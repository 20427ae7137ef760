import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type NetworkPart, resolveShortName } from '../../src/activations/short_names.ts';
import { UsageError } from '../../src/errors.ts';
import { hookNames } from '../../src/model/hook_names.ts';
import { openTiny } from '../internals/tiny_model.ts';

const model = await openTiny();
const names = hookNames(model.config);
const decoder = 'language_model.decoder.layers.1';
const block = 'vision_tower.blocks.2.0';

for (const [name, part, layer, point] of [
  ['pattern', 'decoder', 1, `${decoder}.self_attn.hook_pattern`],
  ['hook_pattern', 'decoder', 1, `${decoder}.self_attn.hook_pattern`],
  ['pattern', 'cross', 1, `${decoder}.encoder_attn.hook_pattern`],
  ['pattern', 'encoder', 0, 'language_model.encoder.layers.0.self_attn.hook_pattern'],
  ['z', 'window', '2.0', `${block}.spatial_block.window_attn.hook_z`],
  ['mlp_out', 'channel', '2.0', `${block}.channel_block.hook_mlp_out`],
  ['cross_attn_out', 'decoder', 1, `${decoder}.hook_cross_attn_out`],
  ['cross_attn_out', undefined, 1, `${decoder}.hook_cross_attn_out`],
  ['pos_embed', 'projector', undefined, 'multi_modal_projector.hook_pos_embed'],
  ['logits', undefined, undefined, 'hook_logits'],
  ['hook_logits', undefined, undefined, 'hook_logits'],
  [`${decoder}.hook_mlp_out`, undefined, undefined, `${decoder}.hook_mlp_out`],
] as [string, NetworkPart | undefined, number | string | undefined, string][]) {
  test(`${name} in ${part} at layer ${layer} is ${point}`, () => {
    assert.is(resolveShortName(name, names, { in: part, layer }), point);
  });
}

test('short names of no point or several are errors', () => {
  for (const [name, part, message] of [
    ['pattern', {}, /^pattern is the name of \d+ points: set `in` or `layer` \(vision_tower\..*, …\)\.$/],
    ['pattern', { in: 'decoder' }, /^pattern in the decoder is the name of 2 points/],
    ['pattern', { in: 'decoder', layer: 7 }, /^No activation named pattern was kept in the decoder at layer 7\.$/],
    ['patern', { in: 'decoder', layer: 1 }, /^No activation named patern was kept\. Did you mean pattern\?$/],
    [
      'pattern',
      { in: 'channel', layer: '2.0' },
      /^No activation named pattern was kept in the channel at layer 2\.0\.$/,
    ],
  ] as [string, object, RegExp][]) {
    const matches = (error: unknown) => error instanceof UsageError && message.test(error.message);
    assert.throws(() => resolveShortName(name, names, part), matches);
  }
});

test.after(() => model.dispose());
test.run();
