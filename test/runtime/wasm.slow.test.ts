import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { useBackend } from '../../src/runtime/backend.ts';

await useBackend('wasm');

const MiB = 2 ** 20; // bytes

for (const [what, sizes] of [
  ['a tensor of half the address space', [2048 * MiB]],
  ['a tensor when memory is full', [1900 * MiB, 1900 * MiB, 1900 * MiB]],
] as const) {
  test(`${what} is refused (tfjs alone would overwrite the module's memory)`, () => {
    const before = tf.memory().numTensors;
    assert.throws(
      () => tf.tidy(() => void sizes.map(bytes => tf.fill([bytes / 4], 1))),
      (error: unknown) =>
        error instanceof Florence2Error && /cannot allocate \d+ MB: its memory is limited to 4 GiB/.test(error.message),
    );
    assert.is(tf.memory().numTensors, before);
    assert.equal([...tf.add([1, 2], 3).dataSync()], [4, 5], 'the backend still works');
  });
}

test.run();
