import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Parameter, Params } from '../../src/nn/params.ts';
import { withoutLeaks } from '../backend.ts';

test('parameters have the names of the checkpoint, in the order of declaration', () => {
  const p = Params.root();
  p.at('blocks').at(0).at('attn').parameter('qkv.weight', [6, 2], 'linear');
  p.optional('head', [3]);
  p.parameter('bias', [2]);
  assert.equal([...p.all.keys()], ['blocks.0.attn.qkv.weight', 'head', 'bias']);
  assert.equal([...p.all.values()].map(({ optional }) => optional), [false, true, false]); // biome-ignore format: one line
});

test('declaring a name twice is an error', () => {
  const p = Params.root();
  p.at('a').parameter('b', [1]);
  assert.throws(() => p.parameter('a.b', [1]), /a\.b is declared twice/);
});

for (const [layout, shape, memory, at, stored] of [
  ['plain', [2, 3], [2, 3], [1, 2], [1, 2]],
  ['linear', [2, 3], [3, 2], [2, 1], [1, 2]],
  ['conv', [4, 3, 2, 5], [2, 5, 3, 4], [1, 4, 2, 3], [3, 2, 1, 4]],
  ['depthwise', [4, 1, 3, 2], [3, 2, 4, 1], [2, 1, 3, 0], [3, 0, 2, 1]],
] as ['plain' | 'linear' | 'conv' | 'depthwise', number[], number[], number[], number[]][]) {
  test(`layout ${layout}: [${shape}] in a checkpoint is [${memory}] in memory`, async () => {
    await withoutLeaks(async () => {
      const parameter = new Parameter('w', shape, layout);
      assert.not.ok(parameter.loaded);
      assert.throws(() => parameter.value, /The parameter w has not been loaded/);
      const flat = (index: number[], of: number[]) => index.reduce((sum, i, axis) => sum * of[axis] + i, 0);
      const count = shape.reduce((n, d) => n * d);
      parameter.load(Float32Array.from({ length: count }, (_, i) => i));
      const halves = Float32Array.from({ length: count }, (_, i) => i + 0.5);
      tf.tidy(() => parameter.load(halves)); // replaces the first value, and survives the caller's tidy
      assert.equal(parameter.value.shape, memory);
      const values = await parameter.value.data();
      assert.is(values[flat(at, memory)], flat(stored, shape) + 0.5);
      parameter.dispose();
      assert.not.ok(parameter.loaded);
    });
  });
}

test.run();
