import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../../../src/florence2.ts';
import { hookPoints } from '../../../src/internals/hook_points.ts';
import { withoutLeaks } from '../../leaks.ts';
import { tinyCheckpoint } from '../../tiny_checkpoint.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2 } from '../florence2.ts';

const checkpoint = await tinyCheckpoint();

/** These tests are about the command, so one backend is enough. */
const hooks = (...args: string[]) => florence2('hooks', '-m', checkpoint, '-b', 'wasm', '--image-size', '64', ...args);

test('all points are listed with their shapes, in the order of execution', async () => {
  const { code, stdout, stderr } = await withoutLeaks(() => hooks('--json', '--answer', 'a red car'));
  assert.is(code, 0, stderr);
  const listed = stdout.trimEnd().split('\n').map(line => JSON.parse(line)); // biome-ignore format: one line
  const model = await Florence2.load(checkpoint, { backend: 'wasm', imageSize: 64 });
  const image = { data: new Uint8Array(9 * 9 * 3), width: 9, height: 9 };
  assert.equal(listed, await hookPoints(model, image, 'caption', { answer: 'a red car' }));
  assert.equal(listed[0], { name: 'vision_tower.hook_pixels', shape: [1, 64, 64, 3] });
  model.dispose();
});

test('a glob selects points, which are listed in columns', async () => {
  const { code, stdout } = await hooks('language_model.*.layers.1.*.hook_pattern', '--answer', 'a');
  assert.is(code, 0);
  const lines = stdout.trimEnd().split('\n');
  assert.equal(lines.map(line => line.split(/ {2,}/)[0]), [
    'language_model.encoder.layers.1.self_attn.hook_pattern',
    'language_model.decoder.layers.1.self_attn.hook_pattern',
    'language_model.decoder.layers.1.encoder_attn.hook_pattern',
  ]); // biome-ignore format: one line
  assert.match(lines[1], / {2}\[1, 4, 3, 3\]$/);
});

test('a name that the model does not have suggests the nearest, and a missing model is named', async () => {
  const mistyped = await hooks('language_model.decoder.layers.1.hook_mlp_ou');
  assert.is(mistyped.code, 2);
  assert.match(mistyped.stderr, /Did you mean language_model\.decoder\.layers\.1\.hook_mlp_out/);
  const missing = await florence2('hooks', '-m', join(temporaryFolder(), 'none'));
  assert.is(missing.code, 1);
  assert.match(missing.stderr, /none/);
});

test.run();
