import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type HeatTable, heatTables } from '../../docs/studies/heat_table.ts';

const table = (title: string, ...values: number[]): HeatTable => ({ title, across: 'head', rows: ['layer 0'], columns: values.map((_, i) => `${i}`), values }); // biome-ignore format: one line

test('tables of one figure have one colour scale', () => {
  const svg = heatTables([table('Small', 0.5), table('Large', 1, 0.5)]);
  const opacities = [...svg.matchAll(/fill-opacity="([\d.]+)"/g)].map(([, value]) => Number(value));
  assert.equal(opacities, [0.52, 1, 0.52]); // 0.04 + 0.96 · value / 1
});

test('a title that is wider than its table is not clipped, and does not reach the next table', async () => {
  const long = 'Change in the WWWWWWWW decoder';
  const { width, height } = await sharp(Buffer.from(heatTables([table(long, 1)]))).metadata();
  const ink = async (right: number): Promise<boolean> => {
    const strip = sharp(Buffer.from(heatTables([table(long, 1)]))).extract({ left: right, top: 0, width: width - right, height }); // biome-ignore format: one line
    const { channels } = await sharp(await strip.flatten().png().toBuffer()).stats();
    return channels.some(({ min }) => min < 255);
  };
  assert.is(await ink(width - 10), false, 'the right edge');
  const first = /<g transform="translate\((\d+) 0\)">.*\n(?:.*\n)*?<g transform="translate\((\d+) 0\)">/.exec(heatTables([table(long, 1), table('B', 1)])); // biome-ignore format: one line
  assert.is(Number(first![2]), width);
});

test.run();
