import { gunzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packRows } from '../../src/inspect/packing.ts';
import type { PackedRows } from '../../src/inspect/report.ts';
import { unpackRows } from './unpack_rows.ts';

const S = 590;
const softmax = (scores: number[]): number[] => {
  const powers = scores.map(Math.exp);
  const total = powers.reduce((a, b) => a + b);
  return powers.map(power => power / total);
};
const wave = (i: number) => Math.sin(i * 12.9898) * 43758.5453;
const noise = (i: number) => wave(i) - Math.floor(wave(i));

/** Rows of attention: uniform, a single peak, an attention sink with half of the weight, noise, zeros. */
const rows: Record<string, number[]> = {
  uniform: new Array(S).fill(1 / S),
  'one peak': Array.from({ length: S }, (_, i) => (i === 7 ? 1 : 0)),
  'a sink': Array.from({ length: S }, (_, i) => (i === 0 ? 0.5 : (1 + noise(i)) / (2 * 1.5 * (S - 1)))),
  noise: softmax(Array.from({ length: S }, (_, i) => 4 * noise(i))),
  zeros: new Array(S).fill(0),
};

for (const [name, row] of Object.entries(rows)) {
  test(`packing keeps the square root of each value to half a step of 1/255, and the sum of the row: ${name}`, async () => {
    const unpacked = unpackRows(await packRows(Float32Array.from(row), [1, S]));
    const peak = Math.max(...row);
    for (const [i, value] of row.entries()) {
      const off = Math.abs(Math.sqrt(unpacked[i]) - Math.sqrt(value));
      assert.ok(off <= Math.sqrt(peak) / 509, `number ${i} is ${unpacked[i]}, not ${value}`);
    }
    const [sum, expected] = [unpacked, row].map(values => [...values].reduce((a, b) => a + b, 0));
    assert.ok(Math.abs(sum - expected) < 0.02, `the sum is ${sum}, not ${expected}`);
  });
}

test('each row is scaled by its own peak, and the shape is kept', async () => {
  const values = Float32Array.from([1, 0, 0.01, 0.0025, 0, 0, 0, 4]);
  const packed: PackedRows = await packRows(values, [2, 2, 2]);
  assert.equal(packed.shape, [2, 2, 2]);
  assert.equal([...gunzipSync(Buffer.from(packed.bytes, 'base64'))], [255, 0, 255, 128, 0, 0, 0, 255]);
  const unpacked = unpackRows(packed);
  for (const [i, value] of values.entries()) assert.ok(Math.abs(unpacked[i] - value) < 1e-4, `${i}: ${unpacked[i]}`);
});

test.run();
