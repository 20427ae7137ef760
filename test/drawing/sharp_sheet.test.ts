import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { drawSheet, type Tile } from '../../src/drawing/sharp_sheet.ts';
import type { TaskResult } from '../../src/results/types.ts';

const tile = (grey: number, width = 384, height = 384): Tile => {
  const image = { data: new Uint8Array(width * height * 3).fill(grey), width, height };
  const box = { label: '', box: [0, 0, 1, 1] as [number, number, number, number] };
  const result: TaskResult = {
    task: '<REGION_PROPOSAL>',
    boxes: [box],
    imageSize: image,
    answer: '',
    truncated: false,
  };
  return { title: 'a title', image, results: [result] };
};

/** Returns the grey value of a pixel. */
async function greyAt(png: Uint8Array, x: number, y: number): Promise<number> {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return data[(y * info.width + x) * info.channels];
}

test('tiles stand row by row, 384 pixels wide and high, with titles above', async () => {
  const png = await drawSheet([tile(10), tile(90), tile(170)], 2);
  const { width, height } = await sharp(png).metadata();
  assert.equal([width, height], [12 + 2 * 396, 2 * 424]);
  for (const [i, grey] of [10, 90, 170].entries()) {
    const [x, y] = [12 + (i % 2) * 396, Math.floor(i / 2) * 424 + 40];
    const middle = await greyAt(png, x + 192, y + 192);
    assert.ok(Math.abs(middle - grey) <= 4, `tile ${i}: ${middle}`);
  }
  assert.ok((await greyAt(png, 12 + 396 + 192, 424 + 40 + 192)) > 250, 'nothing in the fourth place');
});

test('large and slim images fit into their tiles', async () => {
  const png = await drawSheet([tile(10, 1600, 800), tile(90, 30, 600)], 4);
  const { width, height } = await sharp(png).metadata();
  assert.equal([width, height], [12 + 2 * 396, 424]);
  assert.ok(Math.abs((await greyAt(png, 12 + 192, 40 + 96)) - 10) <= 4);
  assert.ok((await greyAt(png, 12 + 192, 40 + 300)) > 250, 'below the large one');
});

test.run();
