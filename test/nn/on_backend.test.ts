import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { onBackend, onBackendOf } from '../../src/nn/on_backend.ts';
import { useBackend } from '../../src/runtime/backend.ts';
import { testBackend, withoutLeaks } from '../backend.ts';

const other = testBackend === 'cpu' ? 'wasm' : 'cpu';
await useBackend(other);

/** Returns the name of the backend that holds a tensor. */
function holderOf({ dataId }: tf.Tensor): string | undefined {
  const { state, registry } = tf.engine();
  const holder = state.tensorInfo.get(dataId)?.backend;
  return Object.keys(registry).find(name => registry[name] === holder);
}

test('a function runs on a backend, and the active one is as before', () =>
  withoutLeaks(async () => {
    const sum = onBackend(testBackend, () => {
      assert.is(tf.getBackend(), testBackend);
      assert.is(onBackend(other, tf.getBackend), other);
      return tf.tidy(() => tf.add(tf.tensor1d([1, 2]), tf.tensor1d([3, 4])));
    });
    assert.is(tf.getBackend(), other);
    assert.is(holderOf(sum), testBackend);
    assert.equal(Array.from(await sum.data()), [4, 6]);
    sum.dispose();
  }));

test('the active backend is as before after an error', () => {
  const fail = () => {
    throw new RangeError('mine');
  };
  assert.throws(() => onBackend(testBackend, fail), /mine/);
  assert.is(tf.getBackend(), other);
});

test('an operation on the backend of a tensor does not move it', () =>
  withoutLeaks(async () => {
    const x = onBackend(testBackend, () => tf.tensor1d([1, 2]));
    const twice = onBackendOf(x, () => tf.mul(x, 2));
    assert.equal([x, twice].map(holderOf), [testBackend, testBackend]);
    assert.equal(Array.from(await twice.data()), [2, 4]);
    tf.dispose([x, twice]);
  }));

test('a backend that was removed is an error', () => {
  const refused = (error: Error) =>
    error instanceof Florence2Error && /The webgl backend was removed/.test(error.message);
  assert.throws(() => onBackend('webgl', () => 0), refused);
});

test.run();
