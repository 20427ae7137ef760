import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { drawHeatmap } from '../../src/drawing/sharp.ts';
import { UsageError } from '../../src/errors.ts';
import type { RawImage } from '../../src/image/types.ts';

const grey: RawImage = { data: new Uint8Array(60 * 40 * 3).fill(128), width: 60, height: 40 };
const map = { data: Float32Array.of(0, 2, -2, 0, 1, 0), width: 3, height: 2 };

async function pixelsOf(png: Uint8Array): Promise<(x: number, y: number) => number[]> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  assert.equal([info.width, info.height, info.channels], [60, 40, 3]);
  return (x, y) => [...data.subarray(3 * (60 * y + x), 3 * (60 * y + x) + 3)];
}

test('each cell covers its part of the image, and cells of 0 are transparent', async () => {
  const at = await pixelsOf(await drawHeatmap(grey, map, { cells: true, opacity: 1 }));
  for (const [x, y] of [
    [0, 0],
    [19, 19],
    [0, 20],
    [59, 39],
  ]) {
    assert.equal(at(x, y), [128, 128, 128], `${x},${y}`);
  }
  assert.equal(at(20, 0), [0xfc, 0xfd, 0xbf], 'the largest value has the last colour of the warm scale');
  assert.equal(at(39, 19), [0xfc, 0xfd, 0xbf]);
  assert.equal(at(40, 0), [0xe0, 0xf7, 0xe4], 'the smallest value has the last colour of the cold scale');
  // Half of the largest value: the middle colour of the scale at half opacity.
  [0xde, 0x49, 0x68].forEach((channel, i) => {
    assert.ok(Math.abs(at(30, 30)[i] - (channel + 128) / 2) <= 1.5, `channel ${i}: ${at(30, 30)[i]}`);
  });
});

test('opacity and the value of full colour are options', async () => {
  const at = await pixelsOf(await drawHeatmap(grey, map, { cells: true, opacity: 0.5, max: 1 }));
  const expected = [0xfc, 0xfd, 0xbf].map(channel => (channel + 128) / 2);
  for (const [x, y] of [
    [30, 10],
    [30, 30],
  ]) {
    at(x, y).forEach((channel, i) => {
      assert.ok(Math.abs(channel - expected[i]) <= 1.5, `${x},${y}: ${at(x, y)}`);
    });
  }
});

test('by default the surface is smooth', async () => {
  const at = await pixelsOf(await drawHeatmap(grey, { data: Float32Array.of(0, 1), width: 2, height: 1 }));
  const reds = Array.from({ length: 30 }, (_, i) => at(15 + i, 20)[1]);
  assert.ok(new Set(reds).size > 8, reds.join());
});

test('a single outlier does not make the other values invisible', async () => {
  const data = Float32Array.from({ length: 60 * 40 }, (_, i) => (i === 7 ? 1000 : 1));
  const at = await pixelsOf(await drawHeatmap(grey, { data, width: 60, height: 40 }, { cells: true, opacity: 1 }));
  assert.equal(at(30, 30), [0xfc, 0xfd, 0xbf]);
});

test('a map of zeros is transparent', async () => {
  const at = await pixelsOf(await drawHeatmap(grey, { data: new Float32Array(4), width: 2, height: 2 }));
  assert.equal(at(10, 10), [128, 128, 128]);
});

test('a map whose number of values does not fit its size is an error', async () => {
  const error = await drawHeatmap(grey, { ...map, width: 4 }).catch(error => error);
  assert.instance(error, UsageError);
  assert.match(error.message, /A map of 4x2 has 8 values, not 6/);
});

test.run();
