import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { mergeHeads, splitHeads, splitQkv } from '../../src/nn/attention.ts';
import { gelu, layerNorm, matMulTransposed, softmax } from '../../src/nn/ops.ts';
import { vectorJacobian } from '../../src/nn/tape.ts';
import { withoutLeaks } from '../backend.ts';
import * as naive from './naive.ts';

const read = (output: () => tf.Tensor) => withoutLeaks(() => download(tf.tidy(output)));

test('gelu is x times the normal distribution function', async () => {
  // Φ from tables: 0.5, 0.6914624612740131, 0.8413447460685429, 0.9772498680518208, 0.9986501019683699
  const known = [
    [0, 0],
    [0.5, 0.34573123063700656],
    [-0.5, -0.15426876936299344],
    [1, 0.8413447460685429],
    [-1, -0.15865525393145707],
    [2, 1.9544997361036416],
    [-2, -0.04550026389635842],
    [3, 2.99595030590511],
    [-3, -0.00404969409489031],
    [-8, 0],
    [8, 8],
    [-40, 0],
    [40, 40],
  ];
  const { values } = await read(() => gelu(tf.tensor1d(known.map(([x]) => x))));
  const { maxAbs } = difference(values, known.map(([, y]) => y)); // biome-ignore format: one line
  assert.ok(maxAbs < 1e-6, `differs by ${maxAbs}`); // the tanh approximation is off by 3e-4 at 2
});

for (const leading of [[], [2], [2, 3]]) {
  test(`matMulTransposed of rank ${leading.length + 2}`, async () => {
    const batches = leading.reduce((n, d) => n * d, 1);
    const [a, b] = [naive.numbers(batches * 4 * 5, 1), naive.numbers(batches * 6 * 5, 2)];
    const product = () => matMulTransposed(tf.tensor(a, [...leading, 4, 5]), tf.tensor(b, [...leading, 6, 5]));
    const { values, shape } = await read(product);
    assert.equal(shape, [...leading, 4, 6]);
    const want = Array.from({ length: batches }, (_, i) => naive.linear(a.subarray(20 * i, 20 * i + 20), b.subarray(30 * i, 30 * i + 30), [], 5)).flat(); // biome-ignore format: one line
    assert.ok(difference(values, want).maxAbs < 2e-6);
  });
}

/** Returns 0, 1, 2, …: values that identify their position. */
const counting = (shape: number[]) => tf.reshape(tf.range(0, shape.reduce((n, d) => n * d, 1)), shape); // biome-ignore format: one line

test('splitHeads, mergeHeads and splitQkv order elements as in PyTorch', async () => {
  const [B, T, heads, d] = [2, 3, 4, 5];
  const split = await read(() => splitHeads(counting([B, T, heads * d]) as tf.Tensor3D, heads));
  assert.equal(split.shape, [B, heads, T, d]);
  const at = (b: number, h: number, t: number, i: number) => ((b * heads + h) * T + t) * d + i;
  assert.is(split.values[at(1, 2, 0, 3)], (1 * T + 0) * heads * d + 2 * d + 3);
  const back = await read(() => mergeHeads(splitHeads(counting([B, T, heads * d]) as tf.Tensor3D, heads)));
  assert.equal(
    Array.from(back.values),
    Array.from({ length: B * T * heads * d }, (_, i) => i),
  );

  const qkv = await read(() => tf.stack(splitQkv(counting([B, T, 3 * heads * d]) as tf.Tensor3D, heads)));
  assert.equal(qkv.shape, [3, B, heads, T, d]);
  for (const part of [0, 1, 2]) {
    const found = qkv.values[part * B * T * heads * d + at(1, 2, 0, 3)];
    assert.is(found, (1 * T + 0) * 3 * heads * d + part * heads * d + 2 * d + 3, 'qkv'[part]);
  }
});

/** Sizes of rows below, equal to and above a kernel's vectors. */
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
    if (name === 'layerNorm' && C === 1) continue; // with one value, the result depends only on epsilon
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
