import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { gelu, layerNorm, softmax } from '../../src/nn/ops.ts';
import { vectorJacobian } from '../../src/nn/tape.ts';
import { withoutLeaks } from '../backend.ts';
import * as naive from './naive.ts';

/** Sizes of rows that fill no vector of a kernel, one, and one and a bit. */
const sizes = [1, 5, 16, 17, 50];
const rows = 3;

const functions: {
  name: string;
  inputs: (C: number) => number[][];
  y: (xs: tf.Tensor[]) => tf.Tensor;
  exact: (...inputs: Float64Array[]) => ArrayLike<number>;
}[] = [
  { name: 'gelu', inputs: C => [[rows, C]], y: ([x]) => gelu(x), exact: x => Array.from(x, naive.gelu) },
  {
    name: 'softmax',
    inputs: C => [[rows, C]],
    y: ([x]) => softmax(x),
    exact: x => naive.softmax(x, x.length / rows),
  },
  {
    name: 'layerNorm',
    inputs: C => [[rows, C], [C], [C]],
    y: ([x, weight, bias]) => layerNorm(x, weight as tf.Tensor1D, bias as tf.Tensor1D, 1e-5),
    exact: naive.layerNorm,
  },
];

for (const { name, inputs, y, exact } of functions) {
  for (const C of sizes) {
    if (name === 'layerNorm' && C === 1) continue; // of one value epsilon decides all
    test(`the gradients of ${name} over rows of ${C}`, () =>
      withoutLeaks(async () => {
        const shapes = inputs(C);
        const values = shapes.map((shape, i) => naive.numbers(tf.util.sizeFromShape(shape), 7 + i, 2));
        const above = naive.numbers(rows * C, 3);
        const xs = shapes.map((shape, i) => tf.tensor(values[i], shape));
        const dy = tf.tensor(above, [rows, C]);
        const gradients = vectorJacobian(() => y(xs), xs, dy) as tf.Tensor[];
        for (const [i, gradient] of gradients.entries()) {
          const { maxAbs } = difference((await download(gradient)).values, naive.gradient(exact, values, i, above));
          assert.ok(maxAbs < 5e-6, `the gradient of input ${i} differs by ${maxAbs}`);
        }
        tf.dispose([...xs, dy]);
      }));
  }
}

test.run();
