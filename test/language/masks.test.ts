import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { causalMask, paddingMask } from '../../src/language/attention.ts';
import { withoutLeaks } from '../backend.ts';

/** A mask as text: `.` for what may be seen, `#` for what is hidden. */
async function picture(make: () => tf.Tensor4D): Promise<{ shape: number[]; rows: string[] }> {
  return withoutLeaks(async () => {
    const mask = tf.tidy(make);
    const values = Array.from(await mask.data());
    assert.ok(values.every(value => value === 0 || value <= -1e8), String(values)); // biome-ignore format: one line
    const S = mask.shape[3];
    const rows = Array.from({ length: values.length / S }, (_, row) => values.slice(row * S, row * S + S).map(value => (value === 0 ? '.' : '#')).join('')); // biome-ignore format: one line
    mask.dispose();
    return { shape: mask.shape, rows };
  });
}

for (const [T, past, rows] of [
  [3, 0, ['.##', '..#', '...']],
  [1, 0, ['.']],
  [1, 4, ['.....']],
  [2, 3, ['....#', '.....']],
] as [number, number, string[]][]) {
  test(`${T} new tokens after ${past} see what came before them`, async () => {
    assert.equal(await picture(() => causalMask(T, past)), { shape: [1, 1, T, past + T], rows });
  });
}

test('padding is hidden from every query', async () => {
  const mask = () => paddingMask(tf.tensor2d([[1, 1, 0], [1, 1, 1]], [2, 3], 'int32')); // biome-ignore format: one line
  assert.equal(await picture(mask), { shape: [2, 1, 1, 3], rows: ['..#', '...'] });
});

test.run();
