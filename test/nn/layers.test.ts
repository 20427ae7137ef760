import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { Conv2d, DepthwiseConv2d, Embedding, LayerNorm, Linear } from '../../src/nn/layers.ts';
import { type Parameter, Params } from '../../src/nn/params.ts';
import { withoutLeaks } from '../backend.ts';
import { conv2d, layerNorm, linear, numbers } from './naive.ts';

/** Runs a layer and checks the shape and values of its output. */
async function expects(
  output: () => tf.Tensor,
  shape: number[],
  want: ArrayLike<number>,
  tolerance = 5e-6,
): Promise<void> {
  const got = await withoutLeaks(() => download(tf.tidy(output)));
  assert.equal(got.shape, shape);
  const { maxAbs } = difference(got.values, want);
  assert.ok(maxAbs <= tolerance, `differs by ${maxAbs}`);
}

const fill = (parameter: Parameter, seed: number, scale = 1): Float32Array => {
  const values = numbers(parameter.shape.reduce((n, d) => n * d, 1), seed, scale); // biome-ignore format: one line
  parameter.load(values.slice());
  return values;
};

for (const shape of [[7], [3, 7], [2, 3, 7], [2, 2, 3, 7], [1, 1, 7]]) {
  for (const bias of [true, false]) {
    test(`Linear over [${shape}]${bias ? '' : ' without a bias'}`, async () => {
      const layer = new Linear(Params.root(), 7, 5, { bias });
      const weight = fill(layer.weight, 1);
      const added = layer.bias ? fill(layer.bias, 2) : [];
      const x = numbers(shape.reduce((n, d) => n * d), 3); // biome-ignore format: one line
      const want = linear(x, weight, added, 7);
      await expects(() => layer.forward(tf.tensor(x, shape)), [...shape.slice(0, -1), 5], want);
    });
  }
}

for (const [what, scale, offset, tolerance] of [
  ['values of usual size', 1, 0, 5e-6],
  ['values so small that epsilon dominates', 2e-3, 0, 5e-6],
  ['values far from 0', 1, 100, 1e-4], // float32 has a precision of 7e-6 there
  ['values that are all equal', 0, 3, 5e-6],
] as const) {
  test(`LayerNorm of ${what}`, async () => {
    const layer = new LayerNorm(Params.root(), 24);
    const [weight, bias] = [fill(layer.weight, 4), fill(layer.bias, 5)];
    const x = numbers(2 * 3 * 24, 6, scale).map(value => value + offset);
    await expects(() => layer.forward(tf.tensor(x, [2, 3, 24])), [2, 3, 24], layerNorm(x, weight, bias), tolerance);
  });
}

for (const [what, height, width, kernel, stride, padding] of [
  ['the first patch embedding', 18, 14, 7, 4, 3],
  ['a later patch embedding', 8, 6, 3, 2, 1],
  ['odd sides', 7, 5, 3, 2, 1],
  ['a map smaller than its kernel', 2, 3, 7, 4, 3],
] as const) {
  test(`Conv2d: ${what}`, async () => {
    const layer = new Conv2d(Params.root(), 3, 4, kernel, stride, padding);
    const [weight, bias] = [fill(layer.weight, 7, 0.2), fill(layer.bias, 8)];
    const x = numbers(height * width * 3, 9);
    const shape = { height, width, inChannels: 3, outChannels: 4, kernel, stride, padding, groups: 1 };
    const side = (size: number) => Math.floor((size + 2 * padding - kernel) / stride) + 1;
    await expects(
      () => layer.forward(tf.tensor4d(x, [1, height, width, 3])),
      [1, side(height), side(width), 4],
      conv2d(x, weight, bias, shape),
    );
  });
}

for (const [height, width] of [
  [5, 4],
  [1, 6],
  [1, 1],
]) {
  // biome-ignore format: one line
  test(`DepthwiseConv2d over ${height}×${width}`, async () => {
    const layer = new DepthwiseConv2d(Params.root(), 6);
    const [weight, bias] = [fill(layer.weight, 10), fill(layer.bias, 11)];
    const x = numbers(height * width * 6, 12);
    const shape = { height, width, inChannels: 6, outChannels: 6, kernel: 3, stride: 1, padding: 1, groups: 6 };
    const want = conv2d(x, weight, bias, shape);
    await expects(() => layer.forward(tf.tensor4d(x, [1, height, width, 6])), [1, height, width, 6], want);
  });
}

test('Embedding: look-up by ids and consecutive rows', async () => {
  const layer = new Embedding(Params.root(), 9, 4);
  const table = fill(layer.weight, 13);
  const rows = (...ids: number[]) => ids.flatMap(id => [...table.subarray(4 * id, 4 * id + 4)]);
  await expects(() => layer.forward(tf.tensor2d([[8, 0], [3, 3]], [2, 2], 'int32')), [2, 2, 4], rows(8, 0, 3, 3), 0); // biome-ignore format: one line
  await expects(() => layer.rows(6, 3), [3, 4], rows(6, 7, 8), 0);
});

test.run();
