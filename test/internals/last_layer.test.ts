/** Attribution of logits to the parts of the decoder's last layer. */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { download } from '../../src/activations/activation.ts';
import { UsageError } from '../../src/errors.ts';
import type { ScopedHook } from '../../src/hooks/hooks.ts';
import { captureForced, forcedLogits } from '../../src/internals/forced_pass.ts';
import { lastLayerAttribution } from '../../src/internals/last_layer.ts';
import { Question } from '../../src/internals/question.ts';
import { withoutLeaks } from '../backend.ts';
import { near } from './near.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const { text } = model.config;
const free = { maxNewTokens: 8, forcedBosTokenId: null, forcedEosTokenId: null, noRepeatNgramSize: 0 };
const question = await Question.ask(model, street, '<CAPTION>', free);
const [T, V] = [question.answerIds.length, text.vocabSize];
const last = text.decoderLayers - 1;

// Non-zero, unlike in published checkpoints, so that code which ignores it fails.
model.model.lmHead.finalLogitsBias.load(Float32Array.from({ length: V }, (_, i) => Math.sin(i)));

test("the parts of the last layer sum to the model's logit", async () => {
  const layer = `language_model.decoder.layers.${last}`;
  const small: ScopedHook[] = [[[`${layer}.hook_resid_mid_cross`, `${layer}.hook_mlp_out`], x => tf.mul(x, 0.005)]];
  const other = question.answerIds.map((_, t) => (31 * t + 7) % V);
  for (const [hooks, tokens] of [
    [[], undefined],
    [[], other],
    [small, other], // so small that the epsilon of the norm counts
  ] as [ScopedHook[], number[] | undefined][]) {
    const logits = (await download(forcedLogits(model.withHooks(hooks), question))).values;
    const attribute = () => lastLayerAttribution(model.withHooks(hooks), question, { tokens });
    const rows = await withoutLeaks(attribute);
    assert.is(rows.length, T);
    rows.forEach(({ token, text, logit, parts }, t) => {
      assert.is(token, (tokens ?? question.answerIds)[t]);
      assert.is(text, model.tokenizer.decode([token]));
      assert.is(logit, logits[t * V + token]);
      const sum = Object.values(parts).reduce((a, b) => a + b);
      assert.ok(Math.abs(sum - logit) < 2e-5 * Math.max(1, Math.abs(logit)), `${t}: ${sum}, the logit is ${logit}`);
    });
  }
});

test('each part equals the formula in float64', async () => {
  const layer = `language_model.decoder.layers.${last}`;
  const cache = captureForced(model, question, [`${layer}.hook_resid_mid_cross`, `${layer}.hook_mlp_out`]);
  const rows = await lastLayerAttribution(model, question);
  const [stream, mlp] = [
    await cache.array(`${layer}.hook_resid_mid_cross`),
    await cache.array(`${layer}.hook_mlp_out`),
  ];
  const { finalLayerNorm } = model.model.languageModel.decoder.layers[last];
  const [gain, shift] = [await finalLayerNorm.weight.value.data(), await finalLayerNorm.bias.value.data()];
  const table = await model.model.languageModel.shared.weight.value.data();
  const D = text.dModel;
  const mean = (x: number[]) => x.reduce((a, b) => a + b) / D;
  const of = (name: keyof (typeof rows)[number]['parts']) => rows.map(({ parts }) => parts[name]);
  const want = rows.map(({ token }, t) => {
    const [a, b] = [stream, mlp].map(({ values }) => Array.from(values.subarray(t * D, (t + 1) * D)));
    const sum = a.map((x, d) => x + b[d]);
    const deviation = Math.sqrt(mean(sum.map(x => (x - mean(sum)) ** 2)) + 1e-5);
    const head = (x: number[]) => x.reduce((total, value, d) => total + value * table[token * D + d], 0);
    const through = (x: number[]) => head(x.map((value, d) => ((value - mean(x)) / deviation) * gain[d]));
    return [through(a), through(b), head(Array.from(shift)), Math.sin(token)];
  });
  for (const [i, name] of (['resid_mid_cross', 'mlp_out', 'norm_bias', 'logits_bias'] as const).entries()) {
    near(of(name), want.map(row => row[i]), 1e-4, name); // biome-ignore format: one line
  }
  cache.dispose();
});

test('an ablated part contributes nothing', async () => {
  const mlp = `language_model.decoder.layers.${last}.hook_mlp_out`;
  const rows = await lastLayerAttribution(model.withHooks([[mlp, x => tf.zerosLike(x)]]), question);
  for (const { parts } of rows) {
    assert.ok(Math.abs(parts.mlp_out) < 1e-6);
    assert.ok(Math.abs(parts.resid_mid_cross) > 1e-3);
  }
});

test('wrong arguments are errors that list the valid ones', async () => {
  for (const [ask, message] of [
    [
      () => lastLayerAttribution(model, question, { tokens: [1] }),
      /tokens must have one id per position of the answer: \d+, not 1/,
    ],
    [
      () => lastLayerAttribution(model, question, { tokens: question.answerIds.map(() => V) }),
      /Token id \d+ does not exist; ids are 0 to \d+/,
    ],
  ] as [() => Promise<unknown>, RegExp][]) {
    await withoutLeaks(async () => {
      const error = (await ask().catch(error => error)) as Error;
      assert.instance(error, UsageError, String(message));
      assert.match(error.message, message);
    });
  }
});

test.run();
