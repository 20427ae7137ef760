import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeImage } from '../../src/image/decode.ts';
import { resizeBicubic } from '../../src/image/resize.ts';
import { referenceJson } from '../reference.ts';
import { describeDifference } from './difference.ts';
import { imageNames, referenceImage, referencePixels } from './reference_images.ts';

const { images } = referenceJson('processor/images.json');
const sha256 = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');

for (const name of imageNames) {
  test(`${name} is resized as in Pillow`, async () => {
    // Lossy formats start from the reference's pixels, because decoders differ by a few levels.
    const image = await referenceImage(name);
    for (const [height, width] of [
      [64, 64],
      [96, 96],
      [48, 80], // not square
    ] as const) {
      const expected = await referencePixels('resized_rgb_u8', `${name}/${height}x${width}`);
      const ours = resizeBicubic(image, width, height);
      assert.is(ours.width, width);
      assert.is(ours.height, height);
      assert.is(describeDifference(ours.data, expected.data), '', `${name} at ${height} x ${width}`);
    }
    assert.is(sha256(resizeBicubic(image, 768, 768).data), images[name].p768.resized_rgb_sha256, `${name} at 768`);
  });
}

test('an image of the requested size is unchanged', async () => {
  const image = await decodeImage(new URL('../reference/processor/images/same_768.png', import.meta.url));
  assert.is(resizeBicubic(image, 768, 768).data, image.data);
});

test('a uniform colour is unchanged at any size', () => {
  const image = { data: new Uint8Array(5 * 3 * 3).fill(255), width: 5, height: 3 };
  for (const [width, height] of [
    [1, 1],
    [2, 7],
    [100, 1],
    [5, 64],
  ] as const) {
    const { data } = resizeBicubic(image, width, height);
    assert.is(data.length, width * height * 3);
    assert.ok(
      data.every(level => level === 255),
      `${width} x ${height}`,
    );
  }
});

test.run();
