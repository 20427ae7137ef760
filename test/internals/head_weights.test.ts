import * as tf from '@tensorflow/tfjs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import type { AttentionKind } from '../../src/internals/attention_maps.ts';
import { captureForced } from '../../src/internals/forced_pass.ts';
import { type HeadWeights, headWeights } from '../../src/internals/head_weights.ts';
import { Question } from '../../src/internals/question.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { near } from './near.ts';
import { openTiny, street } from './tiny_model.ts';

const test = suite('head weights');
const model = await openTiny();
test.after(() => model.dispose());

const encoder = 'language_model.encoder.layers.1';
const decoder = 'language_model.decoder.layers.1';

/** Each kind of attention: its module, its output, and the points with its input. */
const cases: [AttentionKind, number | string, string, string, string, string][] = [
  ['encoder', 1, `${encoder}.self_attn`, `${encoder}.hook_attn_out`, `${encoder}.hook_resid_pre`, `${encoder}.hook_resid_pre`],
  ['decoder', 1, `${decoder}.self_attn`, `${decoder}.hook_attn_out`, `${decoder}.hook_resid_pre`, `${decoder}.hook_resid_pre`],
  ['cross', 1, `${decoder}.encoder_attn`, `${decoder}.hook_cross_attn_out`, `${decoder}.hook_resid_mid`, `${encoder}.hook_resid_post`],
]; // biome-ignore format: one line

for (const [kind, layer, module, output, ofQueries, ofKeys] of cases) {
  test(`the weights of ${kind} attention compute its activations, head by head`, () =>
    withoutLeaks(async () => {
      const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
      const cache = captureForced(model, question, [`${module}.*`, output, ofQueries, ofKeys], { from: 'pixels' });
      const weights = headWeights(model, kind, layer);
      const computed = model.tidy(() => {
        const { W_Q, W_K, W_V, W_O, b_Q, b_K, b_V, b_O } = weights;
        const read = (point: string, W: tf.Tensor3D, b: tf.Tensor2D) => {
          const x = tf.tile(cache.get(point), [W.shape[0], 1, 1]); // [heads, T, D]
          return tf.add(tf.matMul(x as tf.Tensor3D, W, false, true), tf.expandDims(b, 1)); // [heads, T, d]
        };
        const z = tf.squeeze(cache.get(`${module}.hook_z`), [0]) as tf.Tensor3D;
        const written = tf.add(tf.sum(tf.matMul(z, W_O, false, true), 0), b_O); // [T, D]
        return [read(ofQueries, W_Q, b_Q), read(ofKeys, W_K, b_K), read(ofKeys, W_V, b_V), written];
      });
      for (const [i, point] of [`${module}.hook_q`, `${module}.hook_k`, `${module}.hook_v`, output].entries()) {
        near((await computed[i].data()) as Float32Array, (await cache.array(point)).values, 1e-4, point);
      }
      tf.dispose([computed, Object.values(weights)]);
      for (const owner of [cache, question]) owner.dispose();
    }));
}

const vision = testBackend === 'cpu' ? test.skip : test;
for (const kind of ['window', 'channel'] as const) {
  vision(`the output weights of ${kind} attention compute its output`, () =>
    withoutLeaks(async () => {
      const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A' });
      const block = `vision_tower.blocks.3.0.${kind === 'window' ? 'spatial' : 'channel'}_block`;
      const point = `${block}.${kind}_attn.hook_z`;
      const cache = captureForced(model, question, [point, `${block}.hook_attn_out`]);
      const weights: HeadWeights = headWeights(model, kind, '3.0');
      const [heads, d, D] = weights.W_Q.shape;
      assert.equal(weights.W_O.shape, [heads, D, d]);
      const [, z, out] = [0, await cache.array(point), await cache.array(`${block}.hook_attn_out`)];
      const [, H, W] = out.shape;
      const [W_O, b_O] = [await weights.W_O.array(), await weights.b_O.array()];
      const [places, side] = [z.shape[2], kind === 'window' ? Math.sqrt(z.shape[2]) : W];
      for (let y = 0; y < H; y++)
        for (let x = 0; x < W; x++) {
          for (const c of [0, D - 1]) {
            let sum = b_O[c];
            for (let h = 0; h < heads; h++)
              for (let i = 0; i < d; i++) sum += z.values[(h * places + y * side + x) * d + i] * W_O[h][c][i];
            const got = out.values[(y * W + x) * D + c];
            assert.ok(Math.abs(sum - got) < 1e-4, `${y}, ${x}, ${c}: ${sum}, not ${got}`);
          }
        }
      tf.dispose(Object.values(weights));
      for (const owner of [cache, question]) owner.dispose();
    }),
  );
}

test('layers that do not exist are errors', () => {
  for (const [kind, layer] of [
    ['encoder', 2],
    ['cross', -1],
    ['window', '4.0'],
    ['window', 0],
  ] as const) {
    // biome-ignore format: one line
    assert.throws(() => headWeights(model, kind, layer), (error: unknown) => error instanceof UsageError && /has no layer/.test(error.message)); // biome-ignore format: one line
  }
});

test.run();
