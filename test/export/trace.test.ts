import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { trace } from '../../src/export/trace.ts';
import { gelu, layerNorm } from '../../src/nn/ops.ts';
import { inOrder, specOf } from '../../src/runtime/graph/nodes.ts';
import { withoutLeaks } from '../backend.ts';

const floats = (...shape: number[]) => ({ shape, dtype: 'float32' as const });

/** Returns the operations of a trace, in execution order. */
const operations = (outputs: Parameters<typeof inOrder>[0]): string[] =>
  inOrder(outputs)
    .map(({ op }) => op)
    .filter(op => op !== 'Const' && op !== 'Placeholder');

test('records operations, shapes and captured weights, and computes nothing', () =>
  withoutLeaks(async () => {
    const weight = tf.ones([4, 6]);
    const active = tf.getBackend();
    const fn = (x: tf.Tensor): tf.Tensor[] => {
      const parts = tf.unstack(tf.reshape(tf.matMul(x as tf.Tensor2D, weight as tf.Tensor2D), [2, 3, -1]));
      return [tf.concat(parts, 0), gelu(layerNorm(x, tf.ones([4]), tf.zeros([4]), 1e-5))];
    };
    const { inputs, outputs, captured } = trace(fn, [floats(3, 4)], [weight]);
    const ops = ['BatchMatMulV2', 'Reshape', 'Unpack', 'ConcatV2', 'Florence2LayerNorm', 'Florence2Gelu'];
    assert.equal(operations(outputs), ops);
    assert.equal(outputs.map(specOf), [floats(6, 3), floats(3, 4)]);
    assert.equal(
      inputs.map(({ outputs: [spec] }) => spec),
      [floats(3, 4)],
    );
    assert.equal([...captured.keys()], [weight]);
    assert.is(tf.getBackend(), active);
    weight.dispose();
  }));

test('ids stay int32 through a look-up of a table of floats, and a cast changes the type', () => {
  const table = tf.ones([9, 5]);
  const ids = { shape: [2, 3], dtype: 'int32' as const };
  const fn = (ids: tf.Tensor): tf.Tensor[] => [tf.gather(table, ids as tf.Tensor2D), tf.cast(ids, 'float32')];
  const { outputs } = trace(fn, [ids], [table]);
  assert.equal(outputs.map(specOf), [floats(2, 3, 5), floats(2, 3)]);
  table.dispose();
});

test('tensors that are not given, and operations without a translation, are refused; the backend is as before', () => {
  const active = tf.getBackend();
  const stranger = tf.ones([2]);
  const cases: [fn: (x: tf.Tensor) => tf.Tensor[], message: RegExp][] = [
    [x => [tf.add(x, stranger)], /uses a tensor \[2\] that is neither its input nor a given weight/],
    [x => [tf.cumsum(x)], /Cumsum/],
  ];
  for (const [fn, message] of cases) {
    assert.throws(
      () => trace(fn, [floats(2)], []),
      (error: Error) => message.test(error.message),
    );
    assert.is(tf.getBackend(), active);
  }
  assert.throws(
    () => trace(cases[0][0], [floats(2)], []),
    (error: Error) => error instanceof Florence2Error,
  );
  stranger.dispose();
});

test.run();
