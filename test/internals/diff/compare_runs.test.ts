import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLora } from '../../../src/adapters/lora.ts';
import { writeAdapter } from '../../../src/adapters/write.ts';
import { loadConfig } from '../../../src/checkpoint/load_config.ts';
import { Florence2 } from '../../../src/florence2.ts';
import { diffRuns } from '../../../src/internals/diff/compare_runs.ts';
import { passesOver } from '../../../src/internals/diff/points.ts';
import type { DiffOptions, DiffReport, RunSpec } from '../../../src/internals/diff/report.ts';
import { hookPoints } from '../../../src/internals/hook_points.ts';
import { Florence2Model } from '../../../src/model/florence2_model.ts';
import { openFolder } from '../../../src/platform/node.ts';
import { canonicalName } from '../../../src/weights/names.ts';
import { openSafetensors, writeSafetensors } from '../../../src/weights/safetensors_file.ts';
import { writeRandomCheckpoint } from '../../../tools/random_checkpoint.ts';
import { testBackend as backend, withoutLeaks } from '../../backend.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

const root = temporaryFolder();
const waiting = join(root, 'waiting'); // the folder for run A's activations
mkdirSync(waiting);
process.env.TMPDIR = waiting;
const model = join(root, 'model');
await writeRandomCheckpoint(model, { shape: 'tiny', seed: 7, dtype: 'F32' });
const picture = fileURLToPath(new URL('../../../docs/pictures/street.jpg', import.meta.url));
const asked = { task: '<CAPTION>', maxNewTokens: 6 };

const diff = (b: Partial<RunSpec>, options: Partial<DiffOptions> = {}): Promise<DiffReport> =>
  withoutLeaks(() => diffRuns({ model, backend }, { model, backend, ...b }, [picture], { ...asked, ...options }));

/** Tests that do not depend on the backend, skipped on the slow ones. */
const tool = backend === 'cpu' || backend === 'webgpu' ? test.skip : test;

/** Writes a copy of the checkpoint with edited weights and config.json. */
async function changed(
  name: string,
  edit: (name: string, values: Float32Array) => unknown,
  config: (json: Record<string, Record<string, unknown>>) => void = () => {},
): Promise<string> {
  const folder = join(root, name);
  cpSync(model, folder, { recursive: true });
  const original = await openSafetensors(join(model, 'model.safetensors'));
  const tensors = [];
  for (const { name, shape } of original.tensors.values()) {
    const data = await original.readFloat32(name);
    if (edit(canonicalName(name)!.name!, data) !== false) tensors.push({ name, shape, data });
  }
  await original.close();
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  const json = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8'));
  config(json);
  writeFileSync(join(folder, 'config.json'), JSON.stringify(json));
  return folder;
}

async function adapter(name: string, size: number): Promise<string> {
  const { config } = await loadConfig(openFolder(model));
  const lora = createLora(new Florence2Model(config), { r: 2, targets: ['decoder.layers.1.self_attn.v_proj'] });
  for (const { b } of lora.layers.values()) {
    b.load(Float32Array.from({ length: b.shape[0] * b.shape[1] }, (_, i) => size * Math.sin(i)));
  }
  const folder = join(root, name);
  await writeAdapter(lora, folder);
  lora.dispose();
  return folder;
}

test('a run equals itself bit by bit at every hook point', async () => {
  const { images, within, a, b } = await diff({});
  const [{ rows, sameAnswer, answers }] = images;
  const florence = await Florence2.load(model, { backend });
  const points = await hookPoints(florence, picture, asked.task, { maxNewTokens: asked.maxNewTokens });
  florence.dispose();
  assert.equal(rows.map(({ name, shape }) => ({ name, shape })), points); // biome-ignore format: one line
  assert.equal(rows.filter(({ maxAbs, departs }) => maxAbs !== 0 || departs), []); // biome-ignore format: one line
  assert.ok(within && sameAnswer);
  assert.equal(answers.a, answers.b);
  assert.equal([a.ranOn.name, b.ranOn.name], [backend, backend]);
  assert.equal(readdirSync(waiting), [], 'files remained');
});

tool('a changed weight departs at its layer, and earlier points are equal', async () => {
  const other = await changed('bias', (name, values) => {
    if (name === 'language_model.encoder.layers.1.fc1.bias') values[5] += 0.5;
  });
  const { images, within } = await diff({ model: other });
  const [{ rows }] = images;
  const first = rows.findIndex(({ firstDeparture }) => firstDeparture);
  assert.is(rows[first].name, 'language_model.encoder.layers.1.hook_post');
  assert.ok(rows[first].relative > 1e-3);
  assert.equal(rows.slice(0, first).filter(({ maxAbs }) => maxAbs !== 0), []); // biome-ignore format: one line
  assert.ok(rows.slice(first).some(({ name, maxAbs }) => name === 'hook_logits' && maxAbs > 0));
  assert.is(within, false);
  assert.ok((await diff({ model: other }, { tolerance: 1e3 })).within);
});

tool('an adapter departs at its target; one of zeros changes nothing', async () => {
  const none = await diff({ adapter: await adapter('zeros', 0) });
  assert.is(Math.max(...none.images[0].rows.map(({ maxAbs }) => maxAbs)), 0);
  const at = 'language_model.decoder.layers.1.self_attn.hook_v';
  const { images } = await diff({ adapter: await adapter('loud', 1) });
  const first = images[0].rows.find(({ maxAbs }) => maxAbs > 0);
  assert.is(first?.name, at);
  assert.ok(first?.firstDeparture);
});

tool('turned images are read upright on request, and their box is in pixels of the stored image', async () => {
  const [upright, turned] = ['upright.png', 'turned.png'].map(name => join(root, name));
  await sharp(picture).png().toFile(upright); // 768 x 512
  await sharp(picture).rotate(-90).withMetadata({ orientation: 6 }).png().toFile(turned);
  const b = { model, backend, adapter: await adapter('quiet', 0.1) };
  const question = { task: '<REGION_TO_CATEGORY>', maxNewTokens: 4, at: ['vision_tower.hook_pixels', '**.hook_v'] };
  const compared = async (image: string, options: Partial<DiffOptions>) =>
    (await diffRuns({ model, backend }, b, [image], { ...question, ...options })).images[0];
  const expected = await compared(upright, { box: [10, 20, 300, 200] });
  const got = await compared(turned, { box: [20, 468, 200, 758], orientation: 'apply' });
  assert.equal({ ...got, image: upright }, expected);
});

tool("both are given A's answer, and each has its own", async () => {
  const other = await changed('deaf', (name, values) => {
    if (name.includes('encoder_attn.out_proj')) values.fill(0);
  });
  const { images } = await diff({ model: other });
  const [{ answers, sameAnswer, rows }] = images;
  assert.is(sameAnswer, false);
  assert.not.equal(answers.a.ids, answers.b.ids);
  const logits = rows.find(({ name }) => name === 'hook_logits')!;
  assert.is(logits.shape[1], answers.a.ids.length);
  assert.is(logits.remark, undefined);
});

tool('points that only one run has, or with another shape, are reported', async () => {
  const shorter = await changed(
    'shorter',
    name => !name.startsWith('language_model.decoder.layers.1.'),
    ({ text_config }) => {
      text_config.decoder_layers = 1;
    },
  );
  const point = 'language_model.decoder.layers.1.hook_mlp_out';
  const [{ rows }] = (await diff({ model: shorter })).images;
  assert.is(rows.find(({ name }) => name === point)?.remark, 'only in A');
  assert.ok(rows.filter(({ remark }) => remark).every(({ departs }) => departs));
  const smaller = await diff({ imageSize: 64 }, { at: 'vision_tower.convs.*.hook_embed' });
  assert.equal(smaller.images[0].rows.map(({ remark }) => remark), [16, 8, 4, 2].map(side => `shape in B is [1,${side},${side},${[32, 48, 80, 112][Math.log2(16 / side)]}]`)); // biome-ignore format: one line
});

tool('with vocabularies of different sizes, the common tokens are compared', async () => {
  const native = join(root, 'native');
  await writeRandomCheckpoint(native, { shape: 'tiny', seed: 7, dtype: 'F32', layout: 'native' });
  const [{ rows }] = (await diff({ model: native }, { at: 'hook_logits' })).images;
  assert.match(rows[0].remark!, /^compared the first \d+ tokens; A has \d+, B has \d+$/);
  assert.is(rows[0].maxAbs, 0);
});

tool('a missing point is an error and leaves no files', async () => {
  const before = tf.memory().numTensors;
  let message = '';
  await diffRuns({ model, backend }, { model, backend }, [picture], { ...asked, at: 'hook_logit' }).catch(error => {
    message = error.message;
  });
  assert.match(message, /named hook_logit\. Did you mean hook_logits\?/);
  assert.is(tf.memory().numTensors, before);
  assert.equal(readdirSync(waiting), [], 'files remained');
});

test('passes keep the order of the points, with at most 256 MB each unless a single point is larger', () => {
  const points = [20, 30, 20, 80, 1].map((millions, i) => ({ name: `${i}`, shape: [millions, 1_000_000] }));
  assert.equal(passesOver(points), [['0', '1'], ['2'], ['3'], ['4']]); // biome-ignore format: one line
  assert.equal(passesOver([]), []);
});

test.run();
