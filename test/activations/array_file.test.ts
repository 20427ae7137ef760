import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { npyHeader } from '../../src/weights/npy.ts';

/** The headers that numpy 2.4 writes for these shapes: 128 bytes, padded with spaces. */
const cases: [shape: number[], tuple: string][] = [
  [[2, 3], '(2, 3)'],
  [[4], '(4,)'],
  [[3, 577, 768], '(3, 577, 768)'],
  [[1000, 24, 24, 1024], '(1000, 24, 24, 1024)'],
];
for (const [shape, tuple] of cases) {
  test(`the header of [${shape}] equals numpy's, byte by byte`, () => {
    const dictionary = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`;
    const expected = Buffer.concat([
      Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, 0x76, 0]),
      Buffer.from(`${dictionary}${' '.repeat(128 - 10 - 1 - dictionary.length)}\n`),
    ]);
    assert.is(Buffer.from(npyHeader(shape)).toString('latin1'), expected.toString('latin1'));
  });
}

test('a header for many axes is a multiple of 64 bytes long and contains its length', () => {
  const header = npyHeader(new Array(30).fill(1000));
  assert.is(header.length % 64, 0);
  assert.is(header.length, 10 + header[8] + 256 * header[9]);
  assert.is(header.at(-1), 10);
});

test.run();
