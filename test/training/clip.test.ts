import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { download } from '../../src/activations/activation.ts';
import { globalNorm } from '../../src/training/optimizer.ts';
import { withoutLeaks } from '../backend.ts';

// A GPU's program binds about ten tensors, and tfjs' sum of more of them is silently wrong on webgpu.
for (const count of [0, 1, 9, 300]) {
  test(`the norm of ${count} gradients`, () =>
    withoutLeaks(async () => {
      const gradients = Array.from({ length: count }, (_, i) => tf.fill([2, 2], i % 3)); // squares add up to 0, 4, 16
      const [norm] = (await download(globalNorm(gradients))).values;
      const squares = Array.from({ length: count }, (_, i) => 4 * (i % 3) ** 2).reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(norm - Math.sqrt(squares)) <= 1e-5 * Math.sqrt(squares), `${norm} of ${Math.sqrt(squares)}`);
      tf.dispose(gradients);
    }));
}

test.run();
