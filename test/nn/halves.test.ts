import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hasKernel } from '../../src/nn/kernels.ts';
import { type Layout, Params } from '../../src/nn/params.ts';
import { widenToFloat32 } from '../../src/weights/dtypes.ts';
import { withoutLeaks } from '../backend.ts';

/** All kinds of halves: subnormal, infinite, of both signs, and numbers. Not those that are no number. */
const bits = (count: number): Uint16Array =>
  Uint16Array.from({ length: count }, (_, i) => {
    const half = (i * 2654435761) >>> 16;
    return (half & 0x7fff) > 0x7c00 ? half & 0x83ff : half;
  });

// biome-ignore format: one line
const shapes: [Layout, number[]][] = [['plain', [6]], ['plain', [33, 34]], ['linear', [2, 1]], ['linear', [16, 16]], ['linear', [50, 37]], ['linear', [7, 100]]];
for (const [layout, shape] of shapes) {
  test(`a parameter [${shape}] (${layout}) of halves has the values that it has of floats`, () =>
    withoutLeaks(async () => {
      const parameter = Params.root().parameter('weight', shape, layout);
      assert.is(parameter.takesHalves, hasKernel('WidenHalves'));
      const halves = bits(shape.reduce((n, size) => n * size, 1));
      const floats = new Float32Array(halves.length);
      widenToFloat32(new Uint8Array(halves.buffer), 'F16', floats);
      parameter.load(floats);
      const want = tf.clone(parameter.value);
      if (parameter.takesHalves) {
        parameter.loadHalves(halves);
        assert.equal(parameter.value.shape, want.shape);
        assert.equal(await parameter.value.data(), await want.data());
      }
      want.dispose();
      parameter.dispose();
    }));
}

test('parameters that are laid out otherwise, or of an odd number of values, take floats alone', () => {
  assert.not(Params.root().parameter('weight', [3, 5]).takesHalves);
  assert.not(Params.root().parameter('weight', [4, 2, 3, 3], 'conv').takesHalves);
});

test.run();
