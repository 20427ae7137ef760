/** Attention rollout and token relevance. */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Activation, difference } from '../../src/activations/activation.ts';
import type { ActivationCache } from '../../src/activations/cache.ts';
import { UsageError } from '../../src/errors.ts';
import type { HookFn, ScopedHook } from '../../src/hooks/hooks.ts';
import { attentionLabels, overImage } from '../../src/internals/attention_labels.ts';
import { attention, attentionPoints } from '../../src/internals/attention_maps.ts';
import { headOf } from '../../src/internals/attention_parts.ts';
import { captureForced } from '../../src/internals/forced_pass.ts';
import { Question } from '../../src/internals/question.ts';
import { encoderRollout, rollout, tokenRelevance } from '../../src/internals/rollout.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const question = await Question.ask(model, street, '<CAPTION>', { answer: 'a red car' });
const labels = attentionLabels(model, question);
const [T, S] = [question.answerIds.length, question.positions.length];
const points = [...attentionPoints('encoder'), ...attentionPoints('cross')];

/** Captures the question's attentions; `pattern`, if given, replaces the encoder's weights. */
function capture(pattern?: HookFn): ActivationCache {
  const hooks: ScopedHook[] = pattern ? [['**.encoder.layers.*.self_attn.hook_pattern', pattern]] : [];
  return captureForced(model.withHooks(hooks), question, points);
}

/** Returns an S × S matrix with 1 at column to(q) of each row q. */
const pointing = (to: (query: number) => number): Float32Array =>
  Float32Array.from({ length: S * S }, (_, i) => (to(Math.floor(i / S)) === i % S ? 1 : 0));
const matrix = (values: ArrayLike<number>, S: number): Activation => ({ values: Float32Array.from(values), shape: [S, S] }); // biome-ignore format: one line

function assertRowsSumToOne({ values, shape }: Activation): void {
  const width = shape[1];
  for (let row = 0; row < shape[0]; row++) {
    const sum = values.subarray(row * width, (row + 1) * width).reduce((a, b) => a + b);
    assert.ok(Math.abs(sum - 1) < 1e-5, `row ${row} sums to ${sum}`);
  }
}

test('a rollout is the product of r · I + (1 − r) · A over the layers, with the last layer on the left', async () => {
  // Computed by hand: with the residual, the first layer is [[.75, .25], [.5, .5]], the second [[.5, .5], [0, 1]].
  const first = matrix([0.5, 0.5, 1, 0], 2);
  const second = matrix([0, 1, 0, 1], 2);
  const product = await withoutLeaks(() => rollout([first, second]));
  assert.equal(product, matrix([0.625, 0.375, 0.5, 0.5], 2));
  assert.equal(await rollout([first, second], 1), matrix([1, 0, 0, 1], 2));
  assert.equal(await rollout([first, second], 0), matrix([1, 0, 1, 0], 2));
  // Two heads are averaged.
  const heads = { values: Float32Array.of(1, 0, 1, 0, 0, 1, 1, 0), shape: [2, 2, 2] };
  assert.equal(await rollout([heads]), await rollout([first]));
});

test('positions that attend only to themselves depend only on themselves', async () => {
  const cache = capture(pattern => tf.add(tf.mul(pattern, 0), tf.eye(S)));
  await withoutLeaks(async () => {
    const map = await encoderRollout(cache);
    assert.equal(
      map.values,
      pointing(query => query),
    );
    const relevance = await tokenRelevance(cache, { layers: [1] });
    const { maxAbs } = difference(relevance.values, headOf(await attention(cache, 'cross', 1)));
    assert.ok(maxAbs < 1e-6, String(maxAbs));
  });
  cache.dispose();
});

test('if each layer attends one position ahead, rollout adds the shifts of all layers', async () => {
  const shifted = tf.tensor2d(pointing(query => (query + 1) % S), [S, S]); // biome-ignore format: one line
  const cache = capture(pattern => tf.add(tf.mul(pattern, 0), shifted));
  const layers = model.config.text.encoderLayers;
  const map = await encoderRollout(cache, { residual: 0, labels });
  assert.equal(
    map.values,
    pointing(query => (query + layers) % S),
  );
  assert.equal([map.queries, map.keys, map.grid], [question.positions, question.positions, [3, 3]]);
  const relevance = await tokenRelevance(cache, { residual: 0, layers: [0] });
  const read = headOf(await attention(cache, 'cross', 0));
  // Cross-attention to a position depends on the position shifted by the number of layers.
  const want = read.map((_, i) => read[Math.floor(i / S) * S + (((i % S) - layers + S) % S)]);
  assert.ok(difference(relevance.values, want).maxAbs < 1e-6);
  tf.dispose(shifted);
  cache.dispose();
});

test("a model's rows sum to 1 and equal plain matrix products", async () => {
  const cache = capture();
  await withoutLeaks(async () => {
    const map = await encoderRollout(cache, { labels });
    const relevance = await tokenRelevance(cache, { labels });
    assert.equal([map.shape, relevance.shape], [[S, S], [T, S]]); // biome-ignore format: one line
    assertRowsSumToOne(map);
    assertRowsSumToOne(relevance);
    assert.equal(relevance.queries, labels.said);

    let want = pointing(query => query) as ArrayLike<number>;
    for (let layer = 0; layer < model.config.text.encoderLayers; layer++) {
      const mean = headOf(await attention(cache, 'encoder', layer));
      want = product(mean.map((weight, i) => weight / 2 + (i % (S + 1) === 0 ? 0.5 : 0)), want); // biome-ignore format: one line
    }
    assert.ok(difference(map.values, want).maxAbs < 1e-6);
    const maps = [await attention(cache, 'cross', 0), await attention(cache, 'cross', 1)].map(map => headOf(map));
    const read = maps[0].map((weight, i) => (weight + maps[1][i]) / 2);
    assert.ok(difference(relevance.values, product(read, want)).maxAbs < 1e-6);

    const { image, mean, prompt } = overImage(relevance, 2);
    const total = [...image, mean, ...prompt.map(({ weight }) => weight)].reduce((a, b) => a + b);
    assert.ok(Math.abs(total - 1) < 1e-5);
  });
  cache.dispose();
});

/** [n, S] · [S, S] */
function product(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (_, i) => {
    const [row, column] = [Math.floor(i / S), i % S];
    let sum = 0;
    for (let k = 0; k < S; k++) sum += a[row * S + k] * b[k * S + column];
    return sum;
  });
}

test('missing layers and wrong options are errors', async () => {
  const whole = capture();
  const second = captureForced(model, question, attentionPoints('encoder', 1));
  const cross = captureForced(model, question, attentionPoints('cross'));
  const encoder = captureForced(model, question, attentionPoints('encoder'));
  for (const [read, message] of [
    [() => encoderRollout(second), /needs all encoder layers, but layer 0 was not kept/],
    [() => encoderRollout(cross), /layer 0 was not kept: capture attentionPoints\('encoder'\)/],
    [() => tokenRelevance(encoder), /capture attentionPoints\('cross'\)/],
    [() => tokenRelevance(whole, { layers: [7] }), /layers\.7.* was not kept/],
    [() => encoderRollout(whole, { residual: 2 }), /from 0 to 1, not 2/],
    [() => rollout([]), /at least one layer/],
  ] as [() => Promise<unknown>, RegExp][]) {
    const error = (await read().catch(error => error)) as Error;
    assert.instance(error, UsageError, String(message));
    assert.match(error.message, message);
  }
  for (const cache of [whole, second, cross, encoder]) cache.dispose();
});

test.run();
