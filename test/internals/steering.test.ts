import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference } from '../../src/activations/activation.ts';
import { UsageError } from '../../src/errors.ts';
import { captureForced, forcedLogits } from '../../src/internals/forced_pass.ts';
import { Question } from '../../src/internals/question.ts';
import { steer, steeringVector } from '../../src/internals/steering.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const grey = { data: new Uint8Array(96 * 96 * 3).fill(128), width: 96, height: 96 };
const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
const other = await Question.ask(model, grey, '<CAPTION>', { answer: 'A white cat on a car' });
const layers = 'language_model.decoder.layers';

/** Computes the mean over the rows of [N, C]. */
function means(values: Float32Array, C: number, rows: number[]): number[] {
  return Array.from({ length: C }, (_, c) => rows.reduce((sum, row) => sum + values[row * C + c], 0) / rows.length);
}

for (const positions of [undefined, [-1], [1, 2]]) {
  test(`a steering vector is the difference of means: positions ${positions ?? 'all'}`, async () => {
    await withoutLeaks(async () => {
      const name = `${layers}.0.hook_resid_post`;
      const [a, b] = [question, other].map(one => captureForced(model, one, name));
      const vector = steeringVector(a, b, name, { positions });
      const [first, second] = await Promise.all(
        [a, b].map(async cache => {
          const { values, shape } = await cache.array(name);
          const rows = positions?.map(p => (p < 0 ? shape[1] + p : p)) ?? Array.from({ length: shape[1] }, (_, i) => i);
          return means(values, shape[2], rows);
        }),
      );
      assert.equal(vector.shape, [first.length]);
      const expected = Float32Array.from(first, (x, c) => x - second[c]);
      assert.ok(difference((await vector.data()) as Float32Array, expected).maxAbs < 1e-5);
      tf.dispose(vector);
      a.dispose();
      b.dispose();
    });
  });
}

test('the mean over several questions weights all positions equally, with a separate mean per head', async () => {
  await withoutLeaks(async () => {
    const name = `${layers}.1.encoder_attn.hook_z`;
    const [a, b] = [question, other].map(one => captureForced(model, one, name));
    const vector = steeringVector([a, b], b, name);
    const [, heads, , d] = a.shape(name);
    assert.equal(vector.shape, [heads, 1, d]);
    const got = await vector.data();
    for (let head = 0; head < heads; head++) {
      const [x, y] = [await a.array(name, { head }), await b.array(name, { head })];
      const both = Float32Array.of(...x.values, ...y.values);
      const count = (length: number) => Array.from({ length }, (_, i) => i);
      const [all, second] = [means(both, d, count(both.length / d)), means(y.values, d, count(y.values.length / d))];
      const expected = Float32Array.from(all, (value, i) => value - second[i]);
      assert.ok(
        difference(got.slice(head * d, (head + 1) * d) as Float32Array, expected).maxAbs < 1e-5,
        `head ${head}`,
      );
    }
    for (const owner of [a, b, vector]) owner.dispose();
  });
});

for (const [what, site, inside] of [
  ['everywhere', { at: `${layers}.1.hook_mlp_out` }, () => true],
  ['at positions', { at: `${layers}.1.hook_mlp_out`, positions: [0, -1] }, (t, T) => t === 0 || t === T - 1],
] as [string, { at: string; positions?: number[] }, (t: number, T: number) => boolean][]) {
  test(`a vector is added ${what}, times its scale`, async () => {
    await withoutLeaks(async () => {
      const own = captureForced(model, question, site.at);
      const plain = await own.array(site.at);
      own.dispose();
      const D = plain.shape[2];
      const vector = tf.linspace(-1, 1, D);
      const cache = captureForced(model.withHooks(steer(model, site, vector, { scale: -2.5 })), question, site.at);
      const { values } = await cache.array(site.at);
      const v = await vector.data();
      const expected = plain.values.map((x, i) =>
        inside(Math.floor(i / D), plain.shape[1]) ? x + -2.5 * v[i % D] : x,
      );
      assert.ok(difference(values, expected).maxAbs < 1e-6);
      tf.dispose(vector);
      cache.dispose();
    });
  });
}

test('steering by the difference of two questions at one position equals patching there', async () => {
  await withoutLeaks(async () => {
    const name = 'multi_modal_projector.hook_image_features';
    const [a, b] = [question, other].map(one => captureForced(model, one, name, { from: 'pixels' }));
    const vectors = Array.from({ length: 10 }, (_, i) => steeringVector(a, b, name, { positions: [i] }));
    const hooks = vectors.flatMap((vector, i) => steer(model, { at: name, positions: [i] }, vector));
    const ids = { answer: question.answerIds };
    const greyAgain = await Question.ask(model, grey, '<CAPTION>', ids);
    const steered = forcedLogits(model.withHooks(hooks), greyAgain);
    const [expected, before] = [forcedLogits(model, question), forcedLogits(model, greyAgain)];
    const moved = difference((await before.data()) as Float32Array, (await expected.data()) as Float32Array).maxAbs;
    const { maxAbs } = difference((await steered.data()) as Float32Array, (await expected.data()) as Float32Array);
    assert.ok(maxAbs < 1e-3 * moved, `${maxAbs} of ${moved}`);
    tf.dispose([...vectors, steered, expected, before]);
    for (const owner of [a, b, greyAgain]) owner.dispose();
  });
});

test('a vector that does not broadcast is an error', async () => {
  await withoutLeaks(async () => {
    const vector = tf.ones([7]);
    const steered = model.withHooks(steer(model, { at: 'hook_logits' }, vector));
    const message = /The vector \[7\] does not broadcast to the activation .* at hook_logits/;
    const refused = (error: Error) => error instanceof UsageError && message.test(error.message);
    assert.throws(() => forcedLogits(steered, question), refused);
    vector.dispose();
  });
});

test.run();
