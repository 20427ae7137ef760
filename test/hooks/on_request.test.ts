/** Points that are computed only for hooks that ask for them: parts of layer norms, and the outputs of heads. */
import * as tf from '@tensorflow/tfjs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Hooks } from '../../src/hooks/hooks.ts';
import { captureForced, forcedLogits } from '../../src/internals/forced_pass.ts';
import { logitOf } from '../../src/internals/logit_metrics.ts';
import { patchSweep } from '../../src/internals/patching.ts';
import { Question } from '../../src/internals/question.ts';
import { testBackend, withoutLeaks } from '../backend.ts';
import { near } from '../internals/near.ts';
import { openTiny, street } from '../internals/tiny_model.ts';

const test = suite('points on request');
const model = await openTiny();
const question = await Question.ask(model, street, '<CAPTION>', { answer: 'A green car' });
test.after(() => {
  question.dispose();
  model.dispose();
});
const visionTest = testBackend === 'cpu' ? test.skip : test;

const encoder = 'language_model.encoder.layers.1';
const decoder = 'language_model.decoder.layers.1';

test('patterns ask for them by their last part', () => {
  for (const [filter, asked] of [
    ['**', false],
    [`${decoder}.**`, false],
    [/decoder/, false],
    ['**.hook_result', true],
    [`${decoder}.self_attn.hook_result`, true],
    [/self_attn\.hook_result$/, true],
    [['hook_logits', '**.hook_result'], true],
    [(name: string) => name.includes('self_attn'), true],
  ] as const) {
    const h: Hooks = model.hooks.with([[filter, () => {}]]).root();
    assert.is(h.in(`${decoder}.self_attn`).sees('hook_result'), asked, String(filter));
  }
});

for (const [attention, output] of [
  [`${encoder}.self_attn`, `${encoder}.hook_attn_out`],
  [`${decoder}.self_attn`, `${decoder}.hook_attn_out`],
  [`${decoder}.encoder_attn`, `${decoder}.hook_cross_attn_out`],
]) {
  test(`the outputs of the heads and the bias sum to ${output}`, () =>
    withoutLeaks(async () => {
      const cache = captureForced(model, question, [`${attention}.hook_result`, `${attention}.hook_z`, output]);
      const { values, shape } = await cache.array(`${attention}.hook_result`); // [1, heads, T, D]
      const [, heads, T, D] = shape;
      const bias = await model.model.parameters.get(`${attention}.out_proj.bias`)!.value.data();
      const sums = Float32Array.from({ length: T * D }, (_, i) => {
        let sum = bias[i % D];
        for (let head = 0; head < heads; head++) sum += values[head * T * D + i];
        return sum;
      });
      near(sums, (await cache.array(output)).values, 1e-4, output);
      // Head 2 is its z times its rows of the output projection.
      const z = await cache.array(`${attention}.hook_z`);
      const d = z.shape[3];
      const weight = await model.model.parameters.get(`${attention}.out_proj.weight`)!.value.data(); // [in, out]
      for (const [t, c] of [
        [0, 0],
        [T - 1, D - 1],
      ]) {
        // biome-ignore format: one line
        let sum = 0;
        for (let i = 0; i < d; i++) sum += z.values[(2 * T + t) * d + i] * weight[(2 * d + i) * D + c];
        assert.ok(Math.abs(values[(2 * T + t) * D + c] - sum) < 1e-5, `token ${t}, channel ${c}`);
      }
      cache.dispose();
    }));
}

test('replacing the output of a head equals replacing its z', () =>
  withoutLeaks(async () => {
    const other = await Question.ask(model, street, '<OCR>', { answer: question.answerIds });
    const subject = { clean: question, corrupted: other, metric: logitOf(2, 50), over: 'heads' } as const;
    const results = await patchSweep(model, { ...subject, at: 'language_model.decoder.layers.{layer}.self_attn.hook_result' }); // biome-ignore format: one line
    const z = await patchSweep(model, { ...subject, at: 'language_model.decoder.layers.{layer}.self_attn.hook_z' });
    assert.equal(results.shape, z.shape);
    near(results.values, z.values, 1e-4, 'values');
    other.dispose();
  }));

const norms: [norm: string, input: (cache: (name: string) => tf.Tensor) => tf.Tensor, output: string][] = [
  [`${decoder}.final_layer_norm`, at => tf.add(at(`${decoder}.hook_resid_mid_cross`), at(`${decoder}.hook_mlp_out`)), `${decoder}.hook_resid_post`],
  [`${encoder}.self_attn_layer_norm`, at => tf.add(at(`${encoder}.hook_resid_pre`), at(`${encoder}.hook_attn_out`)), `${encoder}.hook_resid_mid`],
  ['multi_modal_projector.image_proj_norm', at => at('multi_modal_projector.hook_projected'), 'multi_modal_projector.hook_image_features'],
]; // biome-ignore format: one line

for (const [norm, inputOf, output] of norms) {
  visionTest(`${norm} has the deviation of its input as scale, and its output without weight and bias`, () =>
    withoutLeaks(async () => {
      const points = ['**', `${norm}.hook_scale`, `${norm}.hook_normalized`];
      const cache = captureForced(model, question, points, { from: 'pixels' });
      const input = model.tidy(() => inputOf(name => cache.get(name)));
      const values = (await input.data()) as Float32Array;
      const C = input.shape.at(-1)!;
      const [scale, normalized] = [
        await cache.array(`${norm}.hook_scale`),
        await cache.array(`${norm}.hook_normalized`),
      ];
      assert.equal([scale.shape, normalized.shape], [[...input.shape.slice(0, -1), 1], input.shape]);
      const [weight, bias] = await Promise.all(
        ['weight', 'bias'].map(leaf => model.model.parameters.get(`${norm}.${leaf}`)!.value.data()),
      );
      const out = (await cache.array(output)).values;
      for (const row of [0, scale.values.length - 1]) {
        const own = values.subarray(row * C, (row + 1) * C);
        const mean = own.reduce((a, b) => a + b, 0) / C;
        const deviation = Math.sqrt(own.reduce((a, b) => a + (b - mean) ** 2, 0) / C + 1e-5);
        assert.ok(Math.abs(scale.values[row] / deviation - 1) < 1e-4, `scale ${scale.values[row]}, not ${deviation}`);
        for (const c of [0, C - 1]) {
          const want = (own[c] - mean) / deviation;
          const got = normalized.values[row * C + c];
          assert.ok(Math.abs(got - want) < 1e-4, `normalized ${got}, not ${want}`);
          assert.ok(Math.abs(got * weight[c] + bias[c] - out[row * C + c]) < 1e-4, 'output');
        }
      }
      tf.dispose(input);
      cache.dispose();
    }),
  );
}

test('a replaced scale changes the output of its norm', () =>
  withoutLeaks(async () => {
    const point = `${decoder}.final_layer_norm.hook_scale`;
    const half = model.withHooks([[point, x => tf.mul(x, 2)]]);
    const logits = [forcedLogits(model, question), forcedLogits(half, question)];
    const [plain, changed] = (await Promise.all(logits.map(x => x.data()))) as Float32Array[];
    const largest = plain.reduce((most, x, i) => Math.max(most, Math.abs(x - changed[i])), 0);
    assert.ok(largest > 1e-2, String(largest));
    tf.dispose(logits);
  }));

for (const numBeams of [1, 3]) {
  test(`a generation with ${numBeams} beams keeps them, with the same answer`, () =>
    withoutLeaks(async () => {
      const options = { maxNewTokens: 4, numBeams };
      const names = [`${decoder}.*.hook_result`, `${decoder}.*.hook_scale`, `${encoder}.self_attn.hook_result`];
      const features = await model.encodeImage(street);
      const plain = await model.run(features, '<CAPTION>', options);
      const { result, cache } = await model.runWithCache(features, '<CAPTION>', { ...options, names });
      assert.is(result.answer, plain.answer);
      const { dModel, decoderAttentionHeads: heads } = model.config.text;
      assert.equal(cache.shape(`${decoder}.encoder_attn.hook_result`, { step: 1 }), [numBeams, heads, 1, dModel]);
      assert.equal(cache.shape(`${decoder}.final_layer_norm.hook_scale`, { step: 1 }), [numBeams, 1, 1]);
      cache.dispose();
      features.dispose();
    }));
}

test.run();
