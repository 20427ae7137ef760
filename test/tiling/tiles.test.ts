import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RawImage } from '../../src/image/types.ts';
import { cropImage, tileBoxes, viewBoxes } from '../../src/tiling/tiles.ts';

const { grids } = JSON.parse(readFileSync(new URL('sahi_cases.json', import.meta.url), 'utf8'));

test("tiles equal SAHI's", () => {
  assert.ok(grids.length >= 7);
  for (const { width, height, size, overlap, boxes } of grids) {
    assert.equal(tileBoxes({ width, height }, { size, overlap }), boxes, `${width}x${height}, ${size}, ${overlap}`);
  }
});

test('the whole image comes first, and is read once if it is one tile', () => {
  const image = { width: 20, height: 10 };
  assert.equal(viewBoxes(image, { size: 10, overlap: 0 }), [[0, 0, 20, 10], [0, 0, 10, 10], [10, 0, 20, 10]]); // biome-ignore format: one line
  assert.equal(viewBoxes(image, { size: 10, overlap: 0, whole: false }), [[0, 0, 10, 10], [10, 0, 20, 10]]); // biome-ignore format: one line
  assert.equal(viewBoxes(image, { size: 20 }), [[0, 0, 20, 10]]);
});

test('a crop has the pixels of its box', () => {
  const [width, height] = [5, 4];
  const image: RawImage = { width, height, data: Uint8Array.from({ length: width * height * 3 }, (_, i) => i) };
  const crop = cropImage(image, [1, 2, 3, 4]);
  assert.equal([crop.width, crop.height], [2, 2]);
  assert.equal([...crop.data], [33, 34, 35, 36, 37, 38, 48, 49, 50, 51, 52, 53]);
});

test('refuses sizes and overlaps that make no tiles', () => {
  const image = { width: 20, height: 10 };
  for (const size of [0, 1.5, Number.NaN])
    assert.throws(() => tileBoxes(image, { size }), /size must be a whole number of pixels/);
  for (const overlap of [-0.1, 1, Number.NaN]) assert.throws(() => tileBoxes(image, { size: 5, overlap }), /overlap/);
});

test.run();
