import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test as anyTest } from 'uvu';
import * as assert from 'uvu/assert';
import { hasKernel } from '../../src/nn/kernels.ts';
import { type Layout, Params } from '../../src/nn/params.ts';
import { widenToFloat32 } from '../../src/weights/dtypes.ts';
import { withoutLeaks } from '../backend.ts';

const test = hasKernel('ReadWeight') ? anyTest : anyTest.skip;
const folder = mkdtempSync(join(tmpdir(), 'florence2-test-'));
anyTest.after(() => rmSync(folder, { recursive: true }));

/** float16 values of all kinds but NaN: normal, subnormal and infinite, of both signs. */
const bits = (count: number): Uint16Array =>
  Uint16Array.from({ length: count }, (_, i) => {
    const half = (i * 2654435761) >>> 16;
    return (half & 0x7fff) > 0x7c00 ? half & 0x83ff : half;
  });

// Some sizes are around the kernel's block sizes.
// biome-ignore format: one line
const shapes: [Layout, number[]][] = [['plain', [5]], ['plain', [33, 34]], ['plain', [4, 7, 10007]], ['linear', [2, 1]], ['linear', [16, 16]], ['linear', [51, 37]], ['linear', [7, 100]], ['linear', [900, 333]], ['conv', [4, 2, 3, 5]], ['depthwise', [6, 1, 3, 3]]];
for (const [layout, shape] of shapes) {
  for (const dtype of ['F16', 'F32'] as const) {
    test(`a parameter [${shape}] (${layout}) read from a file of ${dtype} equals one loaded from an array`, () =>
      withoutLeaks(async () => {
        const parameter = Params.root().parameter('weight', shape, layout);
        const halves = bits(shape.reduce((n, size) => n * size, 1));
        const floats = new Float32Array(halves.length);
        widenToFloat32(new Uint8Array(halves.buffer), 'F16', floats);
        parameter.load(floats);
        const want = tf.clone(parameter.value);
        const file = join(folder, 'weights');
        const position = 10; // after other bytes, not aligned to floats
        writeFileSync(file, new Uint8Array(position));
        writeFileSync(file, new Uint8Array((dtype === 'F16' ? halves : floats).buffer), { flag: 'a' });
        parameter.loadFrom({ file, position, dtype });
        assert.equal(parameter.value.shape, want.shape);
        const [found, wanted] = [await parameter.value.data(), await want.data()];
        assert.ok(found.every((value, i) => Object.is(value, wanted[i])));
        truncateSync(file, position + halves.length);
        assert.throws(() => parameter.loadFrom({ file, position, dtype }), /weights cannot be read, or is shorter/);
        assert.throws(() => parameter.loadFrom({ file: `${file}2`, position, dtype }), /weights2 cannot be read/);
        want.dispose();
        parameter.dispose();
      }));
  }
}

test('reads at positions beyond 2 GiB', () => {
  const parameter = Params.root().parameter('weight', [2]);
  const file = join(folder, 'large');
  const position = 5 * 2 ** 30 + 12;
  writeFileSync(file, '');
  truncateSync(file, position + 8); // a sparse file
  parameter.loadFrom({ file, position, dtype: 'F32' });
  assert.equal(Array.from(parameter.value.dataSync()), [0, 0]);
  assert.throws(() => parameter.loadFrom({ file, position: position + 4, dtype: 'F32' }), /shorter/);
  parameter.dispose();
});

anyTest.run();
