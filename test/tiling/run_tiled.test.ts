import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../../src/florence2.ts';
import { decodeImage } from '../../src/image/decode.ts';
import type { RawImage } from '../../src/image/types.ts';
import { checkTiledTask } from '../../src/tiling/run_tiled.ts';
import { testBackend } from '../backend.ts';
import { withoutLeaks } from '../leaks.ts';

const model = await Florence2.load('demo', { backend: testBackend });
const scenes = await Promise.all([1, 2].map(n => decodeImage(`docs/scenes/scene-${n}.png`)));

/** Two images of one height next to each other. */
function beside([a, b]: RawImage[]): RawImage {
  const data = new Uint8Array((a.width + b.width) * a.height * 3);
  for (let y = 0; y < a.height; y++) {
    const rows = [a, b].map(({ data, width }) => data.subarray(y * width * 3, (y + 1) * width * 3));
    data.set(rows[0], y * (a.width + b.width) * 3);
    data.set(rows[1], (y * (a.width + b.width) + a.width) * 3);
  }
  return { data, width: a.width + b.width, height: a.height };
}

test('tiles that are two scenes have the objects of both', async () => {
  const tiles = { size: scenes[0].width, overlap: 0, whole: false, batch: 2 };
  const result = await withoutLeaks(() => model.run(beside(scenes), '<OD>', { tiles, numBeams: 1 }));
  const alone = await Promise.all(scenes.map(scene => model.run(scene, '<OD>', { numBeams: 1 })));
  const expected = alone.flatMap(({ boxes }, i) =>
    boxes.map(({ label, box }) => ({ label, box: box.map((v, k) => (k % 2 === 0 ? v + i * scenes[0].width : v)) })),
  );
  assert.ok(expected.length >= 4);
  assert.equal(result.boxes.map(({ label, box }) => ({ label, box })), expected); // biome-ignore format: one line
  assert.equal(result.imageSize, { width: 2 * scenes[0].width, height: scenes[0].height });
});

test('a number is the size; the whole image is read too', async () => {
  const { answer } = await model.run(beside(scenes), '<OD>', { tiles: scenes[0].width, numBeams: 1 });
  assert.is(answer.split('\n').length, 4); // the whole, and three tiles with an overlap of a fifth
});

test('refuses tasks that answer in words or about regions, and features', async () => {
  for (const task of ['<CAPTION>', '<OCR>', '<REGION_TO_SEGMENTATION>', 'What is it?']) {
    assert.throws(() => checkTiledTask(task), /cannot be merged across tiles/, task);
  }
  assert.throws(() => checkTiledTask('<OCR>'), /Use <OCR_WITH_REGION>/);
  const features = await model.encodeImage(scenes[0]);
  const error = await model.run(features, '<OD>', { tiles: 64 }).catch(error => error);
  assert.match(error.message, /pass the image/);
  features.dispose();
});

test.run();
