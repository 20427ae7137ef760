/** Rows that share one memory, such as copies of a question and beams: hooks receive each as a separate row. */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference } from '../../src/activations/activation.ts';
import type { ScopedHook } from '../../src/hooks/hooks.ts';
import { captureForced, forcedLogits } from '../../src/internals/forced_pass.ts';
import { Question } from '../../src/internals/question.ts';
import type { TextResult } from '../../src/results/types.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const layers = 'language_model.decoder.layers';
const cross = ['hook_q', 'hook_attn_scores', 'hook_pattern', 'hook_z'].map(leaf => `${layers}.1.encoder_attn.${leaf}`);
/** Makes the rows different. */
const byRow: ScopedHook = [`${layers}.0.hook_mlp_out`, x => tf.mul(x, tf.tensor3d([0, 1, 3], [3, 1, 1]))];
/** Changes no value, but makes each row compute its own keys. */
const ownKeys: ScopedHook = [`${layers}.*.encoder_attn.hook_k`, x => tf.clone(x)];

test('cross-attention is the same with shared keys as with separate keys per row', async () => {
  const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
  await withoutLeaks(async () => {
    const capture = (hooks: ScopedHook[]) => captureForced(model.withHooks(hooks), question, cross, { rows: 3 });
    const shared = await capture([byRow]);
    const own = await capture([byRow, ownKeys]);
    assert.equal(shared.names, own.names);
    for (const name of cross) {
      assert.equal(shared.shape(name), own.shape(name), name);
      assert.is(shared.shape(name)[0], 3, name);
      const [got, want] = [await shared.array(name), await own.array(name)];
      assert.ok(difference(got.values, want.values).maxAbs < 1e-4, name);
      const third = want.values.length / 3;
      const rows = [0, 1, 2].map(row => want.values.subarray(row * third, (row + 1) * third));
      assert.ok(difference(rows[0], rows[1]).maxAbs > 1e-3, `${name}: the rows are equal`);
    }
    shared.dispose();
    own.dispose();
  });
  question.dispose();
});

for (const name of cross) {
  test(`a change at ${name} in one row affects no other row`, async () => {
    const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
    await withoutLeaks(async () => {
      const change: ScopedHook = [name, x => tf.mul(x, tf.tensor4d([1, 2, 1], [3, 1, 1, 1]))];
      const logits = async (hooks: ScopedHook[]) => {
        const made = forcedLogits(model.withHooks(hooks), question, { rows: 3 });
        const values = (await made.data()) as Float32Array;
        made.dispose();
        return [0, 1, 2].map(row => values.subarray((row * values.length) / 3, ((row + 1) * values.length) / 3));
      };
      const [shared, own, plain] = [await logits([change]), await logits([change, ownKeys]), await logits([])];
      for (const row of [0, 1, 2]) {
        assert.ok(difference(shared[row], own[row]).maxAbs < 1e-4, `row ${row}`);
        const moved = difference(shared[row], plain[row]).maxAbs;
        assert.ok(row === 1 ? moved > 1e-3 : moved < 1e-4, `row ${row} moved by ${moved}`);
      }
    });
    question.dispose();
  });
}

test('beams are rows of cross-attention, with and without a cache', async () => {
  await withoutLeaks(async () => {
    const options = { numBeams: 2, maxNewTokens: 4, noRepeatNgramSize: 0, names: [cross[2], cross[3]], steps: [2] };
    const cached = await model.runWithCache(street, '<CAPTION>', options);
    const uncached = await model.runWithCache(street, '<CAPTION>', { ...options, useCache: false });
    const [a, b] = [cached, uncached].map(({ result }) => result as TextResult);
    assert.equal({ ...a, confidence: 0 }, { ...b, confidence: 0 });
    assert.ok(Math.abs(a.confidence! / b.confidence! - 1) < 1e-5, `${a.confidence}, without a cache ${b.confidence}`);
    for (const name of options.names) {
      const [rows, heads, T, n] = cached.cache.shape(name);
      assert.equal([rows, T], [2, 1], name);
      assert.equal(uncached.cache.shape(name), [2, heads, 3, n], name);
      const got = await cached.cache.array(name);
      const last = tf.slice(uncached.cache.get(name), [0, 0, 2, 0], [-1, -1, 1, -1]);
      const want = (await last.data()) as Float32Array;
      last.dispose();
      assert.ok(difference(got.values, want).maxAbs < 1e-4, name);
    }
    cached.cache.dispose();
    uncached.cache.dispose();
  });
});

test.run();
