import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { Conv2d, Linear } from '../../src/nn/layers.ts';
import { lowRankDelta, lowRankShapes } from '../../src/nn/low_rank.ts';
import { lowRank } from '../../src/nn/ops.ts';
import { type LowRank, Parameter, Params } from '../../src/nn/params.ts';
import { vectorJacobian } from '../../src/nn/tape.ts';
import { withoutLeaks } from '../backend.ts';
import * as naive from './naive.ts';
import { conv2d, linear, numbers } from './naive.ts';

const count = (shape: number[]): number => shape.reduce((n, d) => n * d, 1);

function fill(parameter: Parameter, seed: number): Float32Array {
  const values = numbers(count(parameter.shape), seed, 0.3);
  parameter.load(values.slice());
  return values;
}

/** Creates an adapter with pseudo-random values; returns also A and B in PyTorch's layout. */
function adapter(weight: Parameter, r: number, scale: number, seed: number) {
  const shapes = lowRankShapes(weight, r);
  const [a, b] = [new Parameter('a', shapes.a, shapes.layout), new Parameter('b', shapes.b, shapes.layout)];
  const lowRank: LowRank = { a, b, scale, drop: x => x };
  return { lowRank, a: fill(a, seed), b: fill(b, seed + 1), r, scale };
}

async function expects(output: () => tf.Tensor, want: ArrayLike<number>): Promise<void> {
  const { values } = await withoutLeaks(() => download(tf.tidy(output)));
  const { maxAbs } = difference(values, want);
  assert.is(values.length, want.length);
  assert.ok(maxAbs <= 5e-6, `differs by ${maxAbs}`);
}

/** Sizes around the kernel's block sizes of rows and vector elements. */
const shapes: naive.LowRankShape[] = [
  { N: 1, inner: 7, out: 5, r: 2 },
  { N: 3, inner: 16, out: 32, r: 16 },
  { N: 5, inner: 33, out: 20, r: 17 },
  { N: 7, inner: 9, out: 80, r: 3 },
  { N: 75, inner: 17, out: 6, r: 3 },
];
for (const shape of shapes) {
  const { N, inner, out, r } = shape;
  test(`y + scale · (x A) B and its gradients: ${N} rows, ${inner} to ${r} to ${out}`, () =>
    withoutLeaks(async () => {
      const sides: [number, number][] = [[N, out], [N, inner], [inner, r], [r, out]]; // biome-ignore format: one line
      const values = sides.map((side, i) => numbers(count(side), 20 + i, 0.5));
      const [y, x, a, b] = values.map((value, i) => tf.tensor2d(value, sides[i]));
      const exact = (...inputs: ArrayLike<number>[]) => naive.lowRank(inputs, shape, -0.7);
      const pass = () => lowRank(y, x, a, b, -0.7);
      await expects(pass, exact(...values));
      const above = numbers(N * out, 24);
      const dz = tf.tensor(above, [N, out]);
      const gradients = vectorJacobian(pass, [y, x, a, b], dz) as tf.Tensor[];
      for (const [i, gradient] of gradients.entries()) {
        assert.equal(gradient.shape, sides[i]);
        const { maxAbs } = difference((await download(gradient)).values, naive.gradient(exact, values, i, above));
        assert.ok(maxAbs < 2e-5, `the gradient of ${'yxab'[i]} differs by ${maxAbs}`);
      }
      tf.dispose([y, x, a, b, dz]);
    }));
}

test('Linear: two adapters of different ranks and scales, active and merged', async () => {
  const layer = new Linear(Params.root(), 7, 5);
  const [weight, bias] = [fill(layer.weight, 1), fill(layer.bias!, 2)];
  const x = numbers(2 * 3 * 7, 3);
  const adapters = [adapter(layer.weight, 2, 1.5, 4), adapter(layer.weight, 3, -0.5, 6)];
  const want = linear(x, weight, bias, 7);
  for (const { a, b, r, scale } of adapters) {
    const up = linear(linear(x, a, [], 7), b, [], r);
    for (const i of want.keys()) want[i] += scale * up[i];
  }
  const slot = adapters.map(({ lowRank }) => lowRank);
  layer.adapters = slot;
  await expects(() => layer.forward(tf.tensor(x, [2, 3, 7])), want);
  layer.adapters = null;
  const merged = tf.tidy(() => tf.add(layer.weight.value, lowRankDelta(layer.weight, slot)));
  await expects(() => tf.add(tf.matMul(tf.tensor2d(x, [6, 7]), merged as tf.Tensor2D), layer.bias!.value), want);
});

test('Conv2d: A is a convolution of the same stride and padding, B a 1×1 convolution', async () => {
  const [height, width, kernel, stride, padding] = [9, 7, 3, 2, 1];
  const layer = new Conv2d(Params.root(), 3, 4, kernel, stride, padding);
  const [weight, bias] = [fill(layer.weight, 7), fill(layer.bias, 8)];
  const x = numbers(height * width * 3, 9);
  const shape = { height, width, inChannels: 3, kernel, stride, padding, groups: 1 };
  const { lowRank, a, b, r, scale } = adapter(layer.weight, 2, 1.25, 10);
  const up = linear(conv2d(x, a, [0, 0], { ...shape, outChannels: r }), b, [], r);
  const want = conv2d(x, weight, bias, { ...shape, outChannels: 4 }).map((y, i) => y + scale * up[i]);
  const input = () => tf.tensor4d(x, [1, height, width, 3]);
  layer.adapters = [lowRank];
  await expects(() => layer.forward(input()), want);
  layer.adapters = null;
  layer.weight.replace(tf.tidy(() => tf.add(layer.weight.value, lowRankDelta(layer.weight, [lowRank]))));
  await expects(() => layer.forward(input()), want);
});

test('the embedding table as head: its weight is stored as [out, in]', async () => {
  const table = new Parameter('head', [6, 4]);
  fill(table, 12);
  const { lowRank, a, b, r, scale } = adapter(table, 2, 0.75, 13);
  // B A, [6, 4]: its row v is Σ b[v, k] · a[k, :].
  const want = Array.from({ length: 24 }, (_, i) => {
    const [v, d] = [Math.floor(i / 4), i % 4];
    return scale * (b[v * r] * a[d] + b[v * r + 1] * a[4 + d]);
  });
  await expects(() => lowRankDelta(table, [lowRank]), want);
});

test('dropout applies to the input of the adapter, not of the layer', async () => {
  const layer = new Linear(Params.root(), 4, 3);
  const [weight, bias] = [fill(layer.weight, 15), fill(layer.bias!, 16)];
  const x = numbers(2 * 4, 17);
  const { lowRank } = adapter(layer.weight, 2, 1, 18);
  layer.adapters = [{ ...lowRank, drop: x => tf.zerosLike(x) }];
  await expects(() => layer.forward(tf.tensor2d(x, [2, 4])), linear(x, weight, bias, 4));
});

test.run();
