import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { colorBar, heatScale } from '../../src/drawing/heatmap.ts';
import { drawHeatmap } from '../../src/drawing/sharp_heatmap.ts';
import { UsageError } from '../../src/errors.ts';
import type { RawImage } from '../../src/image/types.ts';

/** A red picture: its luma is 0.299. The drawing's greys are 35 for black to 165 for white. */
const red: RawImage = { data: new Uint8Array(600 * 400 * 3).map((_, i) => (i % 3 === 0 ? 255 : 0)), width: 600, height: 400 }; // biome-ignore format: one line
const DIMMED = Math.round(35 + 0.299 * (165 - 35));
const map = { data: Float32Array.of(0, 2, -2, 0, 1, 0), width: 3, height: 2 };

interface Picture {
  size: number[];
  at(x: number, y: number): number[];
}

async function picture(png: Uint8Array): Promise<Picture> {
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  assert.is(info.channels, 3);
  return {
    size: [info.width, info.height],
    at: (x, y) => [...data.subarray(3 * (info.width * y + x), 3 * (info.width * y + x) + 3)],
  };
}

function close(colour: number[], expected: number[], what: string): void {
  const apart = Math.max(...colour.map((channel, i) => Math.abs(channel - expected[i])));
  assert.ok(apart <= 1.5, `${what}: ${colour}`);
}

test('each cell covers its part of the image, which is grey and dark; cells of 0 are transparent', async () => {
  const { at } = await picture(await drawHeatmap(red, map, { cells: true, opacity: 1 }));
  for (const [x, y] of [[0, 0], [199, 199], [0, 200], [599, 399]]) assert.equal(at(x, y), [DIMMED, DIMMED, DIMMED], `${x},${y}`); // biome-ignore format: one line
  assert.equal(at(200, 0), [0xfc, 0xfd, 0xbf], 'the largest value has the last colour of the warm scale');
  assert.equal(at(399, 199), [0xfc, 0xfd, 0xbf]);
  assert.equal(at(400, 0), [0xe0, 0xf7, 0xe4], 'the smallest value has the last colour of the cold scale');
  // Half of the largest value: the middle colour of the scale at half opacity.
  close(at(300, 300), [0xde, 0x49, 0x68].map(channel => (channel + DIMMED) / 2), 'half'); // biome-ignore format: one line
});

test('opacity and the value of full colour are options', async () => {
  const { at } = await picture(await drawHeatmap(red, map, { cells: true, opacity: 0.5, max: 1 }));
  const expected = [0xfc, 0xfd, 0xbf].map(channel => (channel + DIMMED) / 2);
  for (const [x, y] of [[300, 100], [300, 300]]) close(at(x, y), expected, `${x},${y}`); // biome-ignore format: one line
});

test('a small image is enlarged to at least 400 pixels', async () => {
  const small = { data: new Uint8Array(60 * 40 * 3), width: 60, height: 40 };
  assert.equal((await picture(await drawHeatmap(small, map, { bar: false }))).size, [420, 280]);
});

test('a colour bar below the image shows the range of values', async () => {
  const { size, at } = await picture(await drawHeatmap(red, map, { opacity: 1 }));
  assert.is(size[0], 600);
  assert.ok(size[1] > 430 && size[1] < 460, String(size));
  // Letters of √(600 · 400) / 45 = 10.9, at least 12 pixels: the bar is 12 below the image, 12 high, 12 from the sides.
  assert.equal(at(12, 418), [0xe0, 0xf7, 0xe4], 'the left end is the smallest value');
  assert.equal(at(587, 418), [0xfc, 0xfd, 0xbf], 'the right end is the largest');
  const background = at(5, 405);
  assert.equal(at(11, 418), background);
  close(at(300, 418), background, 'the middle is 0');
  const inked = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i).some(x => `${at(x, 435)}` !== `${background}`); // biome-ignore format: one line
  assert.equal([inked(12, 40), inked(60, 280), inked(290, 310), inked(320, 560), inked(560, 588)], [true, false, true, false, true]); // biome-ignore format: one line
});

test('the texts of the bar: the ends with two digits, and signs where values lie beyond', () => {
  const texts = (data: number[], max?: number) =>
    colorBar(heatScale({ data: Float32Array.from(data), width: data.length, height: 1 }, { max }), 9).texts;
  assert.equal(texts([0, 0.03125]), ['0', '0.031']);
  assert.equal(texts([-1, 3], 2), ['−2', '0', '≥ 2']);
  assert.equal(texts([-3, 1], 2), ['≤ −2', '0', '2']);
  assert.equal(texts([0, 0]), ['0', '0']);
});

test('by default the surface is smooth', async () => {
  const { at } = await picture(await drawHeatmap(red, { data: Float32Array.of(0, 1), width: 2, height: 1 }));
  const greens = Array.from({ length: 300 }, (_, i) => at(150 + i, 200)[1]);
  assert.ok(new Set(greens).size > 50, greens.join());
});

test('a single outlier does not make the other values invisible', async () => {
  const data = Float32Array.from({ length: 60 * 40 }, (_, i) => (i === 7 ? 1000 : 1));
  const { at } = await picture(await drawHeatmap(red, { data, width: 60, height: 40 }, { cells: true, opacity: 1 }));
  assert.equal(at(300, 300), [0xfc, 0xfd, 0xbf]);
});

test('a map of zeros is transparent', async () => {
  const { at } = await picture(await drawHeatmap(red, { data: new Float32Array(4), width: 2, height: 2 }));
  assert.equal(at(10, 10), [DIMMED, DIMMED, DIMMED]);
});

test('a map whose number of values does not fit its size is an error', async () => {
  const error = await drawHeatmap(red, { ...map, width: 4 }).catch(error => error);
  assert.instance(error, UsageError);
  assert.match(error.message, /A map of 4x2 has 8 values, not 6/);
});

test.run();
