import { spawnSync } from 'node:child_process';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { useBackend } from '../../src/runtime/backend.ts';
import { testBackend, withoutLeaks } from '../backend.ts';

test('the requested backend becomes active', async () => {
  const choice = await useBackend(testBackend);
  assert.is(choice.name, testBackend);
  assert.is(tf.getBackend(), testBackend);
  assert.ok(choice.description.length > 0);
  assert.equal(choice.passedOver, []);
});

test('a process that uses the backend prints nothing and exits', () => {
  const module = new URL('../../src/runtime/backend.ts', import.meta.url).href;
  const tfjs = import.meta.resolve('@tensorflow/tfjs');
  const script = `const { useBackend } = await import('${module}');
    await useBackend('${testBackend}');
    const tf = await import('${tfjs}');
    await tf.add(tf.randomUniform([300, 300]), 1).data();`;
  const { TF_CPP_MIN_LOG_LEVEL: _, ...env } = process.env;
  const options = { env, encoding: 'utf8', timeout: 60_000 } as const;
  const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], options);
  assert.equal([child.stdout, child.stderr, child.status], ['', '', 0]);
});

test('useBackend leaves no tensors', () => withoutLeaks(async () => void (await useBackend(testBackend))));

// Expected values computed by hand. Each backend has its own kernels for these operations.
const cases: [string, () => tf.Tensor, number[]][] = [
  ['matMul', () => tf.matMul(tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([5, 6, 7, 8], [2, 2])), [19, 22, 43, 50]],
  ['softmax', () => tf.softmax(tf.tensor1d([0, Math.log(3)])), [0.25, 0.75]],
  ['transpose', () => tf.transpose(tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3])), [1, 4, 2, 5, 3, 6]],
  ['gather', () => tf.gather(tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]), tf.tensor1d([2, 0], 'int32')), [5, 6, 1, 2]],
  ['mean', () => tf.mean(tf.tensor2d([1, 2, 3, 4], [2, 2]), 1), [1.5, 3.5]],
  [
    'conv2d',
    () => tf.conv2d(tf.ones([1, 3, 3, 1]) as tf.Tensor4D, tf.ones([3, 3, 1, 1]), 1, 'same'),
    [4, 6, 4, 6, 9, 6, 4, 6, 4],
  ],
];

for (const [name, run, expected] of cases) {
  test(`${name} computes the expected values`, () =>
    withoutLeaks(async () => {
      const result = tf.tidy(run);
      const values = Array.from(await result.data());
      result.dispose();
      assert.is(values.length, expected.length);
      for (const [i, value] of expected.entries()) {
        assert.ok(Math.abs(values[i]! - value) < 1e-5, `${name}[${i}] is ${values[i]}, not ${value}`);
      }
    }));
}

test.run();
