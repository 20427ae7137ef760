import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { noHooks } from '../../src/hooks/hooks.ts';
import { attend } from '../../src/nn/attention.ts';
import { vectorJacobian } from '../../src/nn/tape.ts';
import { withoutLeaks } from '../backend.ts';
import * as naive from './naive.ts';

const HIDDEN = -1e9;

/** Sizes around the kernel's block sizes of queries, keys and vector elements. `mask`: B and T of its shape. */
const cases: (naive.Heads & { mask?: [B: number, T: number] })[] = [
  { B: 1, H: 1, T: 1, S: 5, d: 4, mask: [1, 1] },
  { B: 2, H: 3, T: 3, S: 17, d: 16, mask: [2, 1] },
  { B: 2, H: 2, T: 7, S: 7, d: 8, mask: [1, 7] },
  { B: 2, H: 1, T: 7, S: 10, d: 40, mask: [2, 7] },
  { B: 1, H: 1, T: 26, S: 70, d: 16 },
  { B: 1, H: 1, T: 6, S: 80, d: 8, mask: [1, 1] },
];

for (const { mask, ...size } of cases) {
  const { B, H, T, S, d } = size;
  const name = `${B}×${H} heads of ${d}, ${T} queries, ${S} keys${mask ? `, a mask [${mask[0]}, 1, ${mask[1]}, ${S}]` : ''}`;
  const shapes: [number, number, number, number][] = [T, S, S].map(length => [B, H, length, d]);
  const values = shapes.map((shape, i) => naive.numbers(tf.util.sizeFromShape(shape), 3 + i, 1.5));
  const [masks, rows] = mask ?? [1, 1];
  /** Value of the mask: hides some keys, different ones for each batch item and query, but never the first. */
  const added = (b: number, t: number, s: number): number =>
    mask && s > 0 && (s * 7 + (b % masks) * 3 + (t % rows) * 5) % 4 === 0 ? HIDDEN : 0;
  const exact = (...[q, k, v]: ArrayLike<number>[]) => naive.attention(q, k, v, size, added);
  const tensors = () => {
    const [q, k, v] = values.map((value, i) => tf.tensor4d(value, shapes[i]));
    const hidden = Float32Array.from({ length: masks * rows * S }, (_, i) => {
      return added(Math.floor(i / S / rows), Math.floor(i / S) % rows, i % S);
    });
    return { q, k, v, hidden: mask ? tf.tensor4d(hidden, [masks, 1, rows, S]) : null };
  };

  test(`attention: ${name}`, () =>
    withoutLeaks(async () => {
      const { q, k, v, hidden } = tensors();
      const { values: z, shape } = await download(attend(q, k, v, hidden, noHooks));
      assert.equal(shape, [B, H, T, d]);
      const { maxAbs } = difference(z, exact(...values));
      assert.ok(maxAbs < 3e-6, `differs by ${maxAbs}`);
      tf.dispose([q, k, v, ...(hidden ? [hidden] : [])]);
    }));

  test(`gradients of attention: ${name}`, () =>
    withoutLeaks(async () => {
      const { q, k, v, hidden } = tensors();
      const above = naive.numbers(B * H * T * d, 8);
      const dz = tf.tensor4d(above, [B, H, T, d]);
      const gradients = vectorJacobian(() => attend(q, k, v, hidden, noHooks), [q, k, v], dz) as tf.Tensor[];
      for (const [i, gradient] of gradients.entries()) {
        const { maxAbs } = difference((await download(gradient)).values, naive.gradient(exact, values, i, above));
        assert.ok(maxAbs < 2e-5, `the gradient of ${'qkv'[i]} differs by ${maxAbs}`);
      }
      tf.dispose([q, k, v, dz, ...(hidden ? [hidden] : [])]);
    }));
}

test('the gradient of a single input leaks no tensors', () =>
  withoutLeaks(async () => {
    const [q, k, v] = [2, 3, 4].map(seed => tf.tensor4d(naive.numbers(40, seed), [1, 1, 5, 8]));
    const dz = tf.onesLike(q);
    const [dk] = vectorJacobian(() => attend(q, k, v, null, noHooks), [k], dz) as tf.Tensor[];
    assert.equal(dk.shape, [1, 1, 5, 8]);
    tf.dispose([q, k, v, dz, dk]);
  }));

test('hooks receive the pattern, in which hidden keys have weight 0', async () => {
  const [T, S, d] = [2, 5, 4];
  const hidden = 3;
  const { pattern, z, plain } = await withoutLeaks(async () => {
    const [q, k, v] = [3, 4, 5].map((seed, i) =>
      tf.tensor4d(naive.numbers([T, S, S][i] * d, seed), [1, 1, [T, S, S][i], d]),
    );
    const mask = tf.tensor4d(
      Float32Array.from({ length: S }, (_, s) => (s === hidden ? HIDDEN : 0)),
      [1, 1, 1, S],
    );
    const seen: tf.Tensor[] = [];
    const at = <X extends tf.Tensor>(leaf: string, activation: X): X => {
      if (leaf === 'hook_pattern') seen.push(tf.keep(tf.clone(activation)));
      return activation;
    };
    const h = { ...noHooks, at, sees: (leaf: string) => leaf === 'hook_pattern' };
    const [watched, alone] = [attend(q, k, v, mask, h), attend(q, k, v, mask, noHooks)];
    const made = { pattern: await download(seen[0]), z: await download(watched), plain: await download(alone) };
    tf.dispose([q, k, v, mask]);
    return made;
  });
  assert.equal(pattern.shape, [1, 1, T, S]);
  for (const t of [0, 1]) assert.is(pattern.values[t * S + hidden], 0);
  assert.ok(difference(z.values, plain.values).maxAbs < 1e-6, 'hooks do not change the result');
});

test.run();
