/**
 * Compares our attention kernel with TensorFlow's operations called one by one, forward and with gradients, in the
 * shapes of the base model, on the tensorflow backend:
 *
 *     npx tsx bench/attention.ts
 *
 * Prints milliseconds, the minimum over several turns.
 */
import * as tf from '@tensorflow/tfjs';
import { noHooks } from '../src/hooks/hooks.ts';
import { attend } from '../src/nn/attention.ts';
import { vectorJacobian } from '../src/nn/tape.ts';
import { useBackend } from '../src/runtime/backend.ts';

const TURNS = 10;
const kernel = 'Florence2Attention';
const shapes: [what: string, B: number, heads: number, T: number, S: number, d: number][] = [
  ['encoder', 1, 12, 587, 587, 64],
  ['cross-attention of 32 tokens', 1, 12, 32, 587, 64],
  ['windows of the first stage', 256, 4, 144, 144, 32],
  ['windows of the third stage', 16, 16, 144, 144, 32],
];

function milliseconds(body: () => unknown): number {
  const start = performance.now();
  tf.tidy(() => void body());
  return performance.now() - start;
}

await useBackend('tensorflow');
const registered = tf.getKernel(kernel, 'tensorflow');
if (!registered) throw new Error('This build of TensorFlow lacks our kernels: run "florence2 setup tensorflow".');
for (const [what, B, heads, T, S, d] of shapes) {
  const [q, k, v, dz] = [T, S, S, T].map(length => tf.randomNormal([B, heads, length, d]) as tf.Tensor4D);
  const forward = () => attend(q, k, v, null, noHooks);
  const ways = { forward, 'with gradients': () => vectorJacobian(forward, [q, k, v], dz) };
  for (const [way, body] of Object.entries(ways)) {
    let [ours, theirs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    for (let turn = 0; turn < TURNS; turn++) {
      ours = Math.min(ours, milliseconds(body));
      tf.unregisterKernel(kernel, 'tensorflow'); // `attend` then uses TensorFlow's operations
      theirs = Math.min(theirs, milliseconds(body));
      tf.registerKernel(registered);
    }
    console.log(`${what}, ${way}: ${ours.toFixed(1)} ms, TensorFlow's operations ${theirs.toFixed(1)} ms`);
  }
  tf.dispose([q, k, v, dz]);
}
