import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import sharp from 'sharp';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Activation } from '../../src/activations/activation.ts';
import { Florence2Error } from '../../src/errors.ts';
import { Florence2 } from '../../src/florence2.ts';
import { decodeImage } from '../../src/image/decode.ts';
import type { ImageInput } from '../../src/image/types.ts';
import { type FeatureOptions, FeatureReader } from '../../src/internals/feature_reader.ts';
import { captureForced } from '../../src/internals/forced_pass.ts';
import { Question } from '../../src/internals/question.ts';
import { writeRandomCheckpoint } from '../../tools/random_checkpoint.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { near } from './near.ts';

const pictures = ['sign', 'street'].map(name =>
  fileURLToPath(new URL(`../../docs/pictures/${name}.jpg`, import.meta.url)),
);
const folder = temporaryFolder();
await writeRandomCheckpoint(folder, { shape: 'tiny', seed: 7 });
const model = await Florence2.load(folder, { backend: testBackend });
const images = await Promise.all(pictures.map(picture => decodeImage(picture)));
const test = suite('features');
test.after(() => model.dispose());

const read = (at: string, options: FeatureOptions = {}, rows: readonly ImageInput[] = images): Promise<Activation[]> =>
  withoutLeaks(() => new FeatureReader(model, at, options).read(rows));

/** Returns the activations at a point from a forced pass on each image alone. */
async function alone(at: string, task: string, maxNewTokens?: number): Promise<Activation[]> {
  const rows: Activation[] = [];
  for (const image of images) {
    const question = await Question.ask(model, image, task, { maxNewTokens });
    const cache = captureForced(model, question, at);
    const { values, shape } = await cache.array(at);
    rows.push({ values, shape: shape.slice(1) });
    cache.dispose();
    question.dispose();
  }
  return rows;
}

const blocks = 'vision_tower.blocks.2.0.channel_block';
for (const [at, task] of [
  ['vision_tower.convs.0.hook_embed', undefined],
  [`${blocks}.hook_resid_post`, undefined],
  ['multi_modal_projector.hook_image_features', undefined],
  ['multi_modal_projector.hook_image_features', '<CAPTION>'],
  ['language_model.encoder.layers.1.hook_resid_post', '<CAPTION>'],
  ['language_model.decoder.layers.1.hook_resid_post', '<CAPTION>'],
] as [string, string | undefined][]) {
  test(`a batch at ${at} equals single images`, async () => {
    const rows = await read(at, { task, maxNewTokens: 4 });
    const expected = await alone(at, task ?? '<CAPTION>', 4);
    assert.equal(rows.map(({ shape }) => shape), expected.map(({ shape }) => shape)); // biome-ignore format: one line
    for (const [i, { values }] of rows.entries()) near(values, expected[i].values, 1e-4, `${at} of image ${i}`);
  });
}

test('a box is given in pixels of each stored image', async () => {
  const at = 'language_model.encoder.layers.1.hook_resid_post';
  const task = '<REGION_TO_CATEGORY>';
  const box = [10, 20, 100, 90];
  const turned = await sharp(pictures[1]).rotate(-90).withMetadata({ orientation: 6 }).png().toBuffer();
  const inputs = [pictures[0], turned];
  const reader = new FeatureReader(model, at, { task, box, orientation: 'apply' });
  const rows = await withoutLeaks(() => reader.read(inputs));
  for (const [i, image] of inputs.entries()) {
    const question = await Question.ask(model, image, task, { box, orientation: 'apply', maxNewTokens: 2 });
    const cache = captureForced(model, question, at);
    near(rows[i].values, (await cache.array(at)).values, 1e-4, `image ${i}`);
    cache.dispose();
    question.dispose();
  }
});

test('a turned image is warned of once', async () => {
  const turned = await sharp(pictures[1]).withMetadata({ orientation: 6 }).png().toBuffer();
  const { warn } = console;
  const warnings: string[] = [];
  console.warn = (warning: string) => warnings.push(warning);
  try {
    await read('language_model.decoder.layers.1.hook_resid_post', { task: '<CAPTION>', maxNewTokens: 2 }, [turned]);
  } finally {
    console.warn = warn;
  }
  assert.is(warnings.length, 1);
  assert.match(warnings[0], /EXIF orientation 6/);
});

test('a point with windows has all windows of an image in one row', async () => {
  const at = 'vision_tower.blocks.0.0.spatial_block.window_attn.hook_z';
  const question = await Question.ask(model, images[1], '<CAPTION>', { answer: 'a' });
  const cache = captureForced(model, question, at);
  const expected = await cache.array(at); // [windows, heads, w², d]
  cache.dispose();
  question.dispose();
  assert.ok(expected.shape[0] > 1);
  const rows = await read(at);
  for (const { shape } of rows) assert.equal(shape, expected.shape);
  near(rows[1].values, expected.values, 1e-4, at);
});

test('with onError skip, the error of an image is in the place of its activation', async () => {
  const at = 'multi_modal_projector.hook_image_features';
  const reader = new FeatureReader(model, at, { pool: 'mean' });
  const inputs = [pictures[0], 'nowhere.png', images[1]];
  const rows = await withoutLeaks(() => reader.read(inputs, { onError: 'skip' }));
  const expected = await read(at, { pool: 'mean' });
  assert.ok(rows[1] instanceof Florence2Error && rows[1].code === 'FILE_NOT_FOUND', String(rows[1]));
  for (const [row, i] of [[0, 0], [2, 1]]) near((rows[row] as Activation).values, expected[i].values, 1e-4, at); // biome-ignore format: one line
  const error = await withoutLeaks(() => reader.read(inputs).catch(error => error));
  assert.is(error.code, 'FILE_NOT_FOUND');
});

test('pooled features are means over all axes but the last', async () => {
  const at = `${blocks}.hook_resid_post`; // [H, W, C]
  const [whole, pooled] = [await read(at), await read(at, { pool: 'mean' })];
  for (const [i, { values, shape }] of pooled.entries()) {
    const C = whole[i].shape.at(-1)!;
    assert.equal(shape, [C]);
    const sums = new Float64Array(C);
    whole[i].values.forEach((value, at) => {
      sums[at % C] += value;
    });
    near(values, sums.map(sum => (sum * C) / whole[i].values.length), 1e-4, `image ${i}`); // biome-ignore format: one line
  }
});

test('a glob may select the point, and later calls use the same one', async () => {
  const reader = new FeatureReader(model, 'language_model.encoder.layers.*1.hook_mlp_out', { task: '<OD>' });
  const first = await reader.read(images.slice(0, 1));
  assert.is(reader.point, 'language_model.encoder.layers.1.hook_mlp_out');
  const again = await withoutLeaks(() => reader.read(images));
  near(again[0].values, first[0].values, 1e-4, 'the first image');
});

for (const [what, at, message] of [
  [
    'a missing point',
    'vision_tower.convs.0.hook_embd',
    /named vision_tower\.convs\.0\.hook_embd\. Did you mean vision_tower\.convs\.0\.hook_embed\?/,
  ],
  ['a point of the language model', 'language_model.encoder.layers.0.hook_mlp_out', /runs only with a task/],
  ['several points', 'vision_tower.convs.*.hook_embed', /matches 4 hook points/],
  ['a position embedding', 'multi_modal_projector.hook_pos_embed', /the same for every image/],
] as [string, string, RegExp][]) {
  // biome-ignore format: a table
  test(`${what} is an error without leaks`, async () => {
    const before = tf.memory().numTensors;
    let thrown: Error | undefined;
    try {
      await new FeatureReader(model, at).read(images);
    } catch (error) {
      thrown = error as Error;
    }
    assert.match(String(thrown?.message), message);
    assert.is(thrown?.name, 'UsageError');
    assert.is(tf.memory().numTensors, before);
  });
}

test.run();
