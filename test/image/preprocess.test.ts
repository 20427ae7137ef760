import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type PreprocessorConfig, parsePreprocessorConfig } from '../../src/config/preprocessor.ts';
import { preprocess, toTensor } from '../../src/image/preprocess.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { hasReference, reference, referenceJson } from '../reference.ts';
import { describeDifference } from './difference.ts';
import { imageNames, referenceImage } from './reference_images.ts';

const { images } = referenceJson('processor/images.json');
const standard = parsePreprocessorConfig({}); // Florence-2's defaults
const at = (width: number, height: number): PreprocessorConfig => ({ ...standard, width, height });

if (hasReference('processor/pixel_values_64.safetensors')) {
  test('pixel values at 64 x 64 equal those of the reference', async () => {
    const expected = await openSafetensors(reference('processor/pixel_values_64.safetensors'));
    for (const name of imageNames) {
      const { data, shape } = preprocess(await referenceImage(name), at(64, 64));
      assert.equal(shape, [1, 64, 64, 3]);
      const want = channelsLast(await expected.readFloat32(name), 64, 64);
      assert.is(describeDifference(data, want, 1e-6), '', name);
    }
    await expected.close();
  });

  test('sampled pixel values at 768 x 768 equal those of the reference', async () => {
    const expected = await openSafetensors(reference('processor/pixel_samples_768.safetensors'));
    for (const name of imageNames) {
      const { data } = preprocess(await referenceImage(name), standard);
      const index = await expected.readInt32(`${name}/index`); // flat positions in [3, 768, 768]
      const ours = Array.from(index, i => data[(i % (768 * 768)) * 3 + Math.floor(i / (768 * 768))]!);
      assert.is(describeDifference(ours, await expected.readFloat32(`${name}/value`), 1e-6), '', name);
    }
    await expected.close();
  });
}

test('mean, deviation, minimum and maximum at 768 x 768 equal those of the reference', async () => {
  for (const name of imageNames) {
    const { data } = preprocess(await referenceImage(name), standard);
    const { mean, std, min, max } = images[name].p768;
    const ours = statistics(data);
    assert.is(describeDifference(ours.mean, mean, 1e-5), '', `${name}: mean per channel`);
    assert.is(describeDifference(ours.std, std, 1e-5), '', `${name}: deviation per channel`);
    assert.is(describeDifference([ours.min, ours.max], [min, max], 1e-6), '', `${name}: minimum and maximum`);
  }
});

test('a batch of different sizes has the values of each image alone', async () => {
  const batch = await Promise.all(['wide_1000x20.png', 'one_pixel.png', 'photo.png'].map(referenceImage));
  const { data, shape } = preprocess(batch, at(96, 48));
  assert.equal(shape, [3, 48, 96, 3]);
  const alone = batch.flatMap(image => [...preprocess(image, at(96, 48)).data]);
  assert.is(describeDifference(data, alone), '');
});

test('the constants come from the config', () => {
  const image = { data: Uint8Array.of(0, 128, 255), width: 1, height: 1 };
  const raw = {
    width: 1,
    height: 1,
    rescaleFactor: 1,
    imageMean: [0, 0, 0],
    imageStd: [1, 1, 1],
  } as PreprocessorConfig;
  assert.equal([...preprocess(image, raw).data], [0, 128, 255]);
  const other = { ...raw, rescaleFactor: 0.5, imageMean: [1, 2, 3], imageStd: [2, 4, 8] } as PreprocessorConfig;
  assert.equal([...preprocess(image, other).data], [-0.5, 15.5, 15.5625]); // exact in binary
});

test('toTensor returns [B, H, W, 3]', async () => {
  await tf.setBackend('cpu');
  const before = tf.memory().numTensors;
  const tensor = toTensor(preprocess({ data: Uint8Array.of(9, 9, 9), width: 1, height: 1 }, at(2, 3)));
  assert.equal(tensor.shape, [1, 3, 2, 3]);
  assert.is(tensor.dtype, 'float32');
  tensor.dispose();
  assert.is(tf.memory().numTensors, before);
});

const raw = (length: number, width: number, height: number) => ({ data: new Uint8Array(length), width, height });
const refused: [string, Parameters<typeof preprocess>[0], RegExp][] = [
  ['no image', [], /at least one/],
  ['too few bytes', raw(11, 2, 2), /2 x 2 needs 12 bytes of RGB, but has 11 bytes/],
  ['RGBA', raw(16, 2, 2), /needs 12 bytes of RGB, but has 16 bytes/],
  ['no pixels', raw(0, 0, 4), /not 0 x 4/],
  ['a fraction of a pixel', raw(9, 1.5, 2), /not 1.5 x 2/],
  ['one bad image in a batch', [raw(12, 2, 2), raw(3, 2, 2)], /has 3 bytes/],
];
for (const [what, images, message] of refused) {
  test(`refused: ${what}`, () => {
    assert.throws(
      () => preprocess(images, standard),
      (e: Error) => e.name === 'UsageError' && message.test(e.message),
    );
  });
}

function statistics(values: Float32Array) {
  const mean = [0, 0, 0];
  const square = [0, 0, 0];
  let [min, max] = [Infinity, -Infinity];
  const count = values.length / 3;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    mean[i % 3]! += value / count;
    square[i % 3]! += (value * value) / count;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  return { mean, std: square.map((s, c) => Math.sqrt(Math.max(0, s - mean[c]! ** 2))), min, max };
}

function channelsLast(values: Float32Array, height: number, width: number): Float32Array {
  const area = height * width;
  return Float32Array.from(values, (_, i) => values[(i % 3) * area + Math.floor(i / 3)]!);
}

test.run();
