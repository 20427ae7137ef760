import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { noHooks } from '../../src/internals/hooks.ts';
import { download } from '../../src/internals/parity/capture.ts';
import { difference } from '../../src/internals/parity/compare.ts';
import { attend, mergeHeads, splitHeads, splitQkv } from '../../src/nn/attention.ts';
import { gelu, matMulTransposed } from '../../src/nn/ops.ts';
import { withoutLeaks } from '../backend.ts';
import { linear, numbers } from './naive.ts';

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
    const [a, b] = [numbers(batches * 4 * 5, 1), numbers(batches * 6 * 5, 2)];
    const product = () => matMulTransposed(tf.tensor(a, [...leading, 4, 5]), tf.tensor(b, [...leading, 6, 5]));
    const { values, shape } = await read(product);
    assert.equal(shape, [...leading, 4, 6]);
    const want = Array.from({ length: batches }, (_, i) => linear(a.subarray(20 * i, 20 * i + 20), b.subarray(30 * i, 30 * i + 30), [], 5)).flat(); // biome-ignore format: one line
    assert.ok(difference(values, want).maxAbs < 2e-6);
  });
}

/** 0, 1, 2, …: values that tell where they came from. */
const counting = (shape: number[]) => tf.reshape(tf.range(0, shape.reduce((n, d) => n * d, 1)), shape); // biome-ignore format: one line

test('heads are split and merged as in PyTorch', async () => {
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

test('attention is a softmax over the keys that may be seen, scaled by the root of the head size', async () => {
  const [T, S, d] = [2, 5, 4];
  const [q, k, v] = [numbers(T * d, 3), numbers(S * d, 4), numbers(S * d, 5)];
  const hidden = 3; // the key that may not be seen
  const mask = Float32Array.from({ length: S }, (_, s) => (s === hidden ? -1e9 : 0));
  const want = Array.from({ length: T }, (_, t) => {
    const scores = linear(q.subarray(t * d, t * d + d), k, [], d).map(score => score / Math.sqrt(d));
    const weights = scores.map((score, s) => (s === hidden ? 0 : Math.exp(score)));
    const mass = weights.reduce((sum, weight) => sum + weight, 0);
    return Array.from({ length: d }, (_, i) => weights.reduce((sum, w, s) => sum + (w / mass) * v[s * d + i], 0));
  }).flat();
  let pattern: Float32Array | undefined;
  const { values, shape } = await withoutLeaks(async () => {
    const seen: tf.Tensor[] = [];
    const at = <X extends tf.Tensor>(leaf: string, activation: X): X => {
      if (leaf === 'hook_pattern') seen.push(tf.keep(tf.clone(activation)));
      return activation;
    };
    const h = { ...noHooks, at };
    const z = tf.tidy(() =>
      attend(
        tf.tensor4d(q, [1, 1, T, d]),
        tf.tensor4d(k, [1, 1, S, d]),
        tf.tensor4d(v, [1, 1, S, d]),
        tf.tensor4d(mask, [1, 1, 1, S]),
        h,
      ),
    );
    pattern = (await download(seen[0])).values;
    return download(z);
  });
  assert.equal(shape, [1, 1, T, d]);
  assert.ok(difference(values, want).maxAbs < 1e-6);
  for (const t of [0, 1]) assert.is(pattern![t * S + hidden], 0, 'a hidden key has no weight at all');
});

test.run();
