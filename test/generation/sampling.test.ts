import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GeneratedSequence } from '../../src/generation/decoding.ts';
import { generateSequences } from '../../src/generation/generate.ts';
import { type GenerationSettings, rowsPerItem } from '../../src/generation/options.ts';
import { highestIndices, withGumbelNoise } from '../../src/generation/sampling.ts';
import { withoutLeaks } from '../backend.ts';
import { logSoftmax, plain, random, type ToyModel, ToySession, toyModel } from './toy.ts';

const V = 12;
const sampling: GenerationSettings = { ...plain, doSample: true, topK: 0, maxNewTokens: 6 };

function run(model: ToyModel, batch: number, settings: GenerationSettings): Promise<GeneratedSequence[][]> {
  return withoutLeaks(() => generateSequences(new ToySession(model, batch, rowsPerItem(settings)), settings));
}

/** Returns Pearson's chi-square of counts, in units of its standard deviation above its mean. */
function excess(counts: ReadonlyMap<string, number>, expected: ReadonlyMap<string, number>, draws: number): number {
  for (const key of counts.keys()) assert.ok(expected.has(key), `${key} was drawn`);
  let chiSquare = 0;
  for (const [key, probability] of expected) {
    const mean = draws * probability;
    chiSquare += ((counts.get(key) ?? 0) - mean) ** 2 / mean;
  }
  const freedom = expected.size - 1;
  return (chiSquare - freedom) / Math.sqrt(2 * freedom);
}

function countOf(keys: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

test('the highest values with noise are draws without replacement', () => {
  const scores = Float32Array.from([0, 1.2, -Infinity, 2, -1]);
  const p = logSoftmax(scores).map(Math.exp);
  const ordered = new Map<string, number>();
  for (const first of [0, 1, 3, 4])
    for (const second of [0, 1, 3, 4])
      if (second !== first) ordered.set(`${first} ${second}`, (p[first] * p[second]) / (1 - p[first]));
  const draws = 20_000;
  const drawn = Array.from({ length: draws }, (_, seed) => highestIndices(withGumbelNoise(scores, seed), 2).join(' '));
  assert.ok(Math.abs(excess(countOf(drawn), ordered, draws)) < 3);
  const wrong = new Map([...ordered].map(([key]) => [key, 1 / ordered.size]));
  assert.ok(excess(countOf(drawn), wrong, draws) > 100, 'the test sees other distributions');
});

test('samples have the probabilities of the processed scores', async () => {
  const model = toyModel(5, V, 2);
  const cases: [options: Partial<GenerationSettings>, kept: number][] = [
    [{}, V],
    [{ temperature: 0.5 }, V],
    [{ topK: 4 }, 4],
    [{ badWords: [[5]], temperature: 2 }, V - 1],
  ];
  const numReturnSequences = 1000;
  for (const [options, kept] of cases) {
    const settings = { ...sampling, ...options, maxNewTokens: 1, numReturnSequences };
    const answers: GeneratedSequence[] = [];
    for (const seed of [1, 2, 3, 4]) answers.push(...(await run(model, 1, { ...settings, seed }))[0]);
    const logits = Array.from(model(0, [2]), (logit, token) =>
      token === options.badWords?.[0][0] ? -Infinity : logit / settings.temperature,
    );
    const lowest = [...logits].sort((a, b) => b - a)[kept - 1];
    const p = logSoftmax(logits.map(logit => (logit < lowest ? -Infinity : logit))).map(Math.exp);
    const expected = new Map(
      [...p.entries()].filter(([, share]) => share > 0).map(([token, share]) => [`${token}`, share]),
    );
    assert.is(expected.size, kept);
    const off = excess(countOf(answers.map(({ ids }) => `${ids[1]}`)), expected, answers.length);
    assert.ok(Math.abs(off) < 3, `${JSON.stringify(options)}: ${off} standard deviations`);
    for (const { ids, logProbs } of answers.slice(0, 20))
      assert.ok(
        Math.abs(logProbs[0] - logSoftmax(model(0, [2]))[ids[1]]) < 1e-5,
        'log-probabilities are those of the model',
      );
  }
});

test('beam sampling draws extensions of all beams in proportion to the probabilities of their sequences', async () => {
  const model = toyModel(9, 4, 1);
  const settings = { ...sampling, numBeams: 2, numReturnSequences: 2, maxNewTokens: 1 };
  const p = logSoftmax(model(0, [2])).map(Math.exp);
  // With one step, the answers are the first two draws of the first beam, sorted by probability.
  const pairs = new Map<string, number>();
  for (let a = 0; a < 4; a++)
    for (let b = 0; b < 4; b++) {
      const key = [a, b].sort((x, y) => p[y] - p[x]).join(' ');
      if (a !== b) pairs.set(key, (pairs.get(key) ?? 0) + (p[a] * p[b]) / (1 - p[a]));
    }
  const draws = 3000;
  const drawn: string[] = [];
  for (let seed = 0; seed < draws; seed++) {
    const [answers] = await generateSequences(new ToySession(model, 1, 2), { ...settings, seed });
    drawn.push(answers.map(({ ids }) => ids[1]).join(' '));
  }
  assert.ok(Math.abs(excess(countOf(drawn), pairs, draws)) < 3);
});

test('the samples of a request depend on its seed, not on its batch', async () => {
  const model = toyModel(3, V);
  const ways: Partial<GenerationSettings>[] = [
    {},
    { numReturnSequences: 3 },
    { numBeams: 3 },
    { numBeams: 2, numReturnSequences: 2, temperature: 2, repetitionPenalty: 1.2 },
  ];
  for (const way of ways) {
    const settings = { ...sampling, maxNewTokens: 12, seed: 7, ...way };
    const batch = await run(model, 4, settings);
    for (const [item, answers] of batch.entries()) {
      const alone = await run((_, sequence) => model(item, sequence), 1, settings);
      assert.equal(answers, alone[0], JSON.stringify(way));
    }
    const [again, other] = [await run(model, 4, settings), await run(model, 4, { ...settings, seed: 8 })];
    assert.equal(again, batch);
    assert.not.equal(other, batch);
  }
});

test('several samples of a request differ, and the first is that of a request for one', async () => {
  const model = toyModel(4, V);
  const [samples] = await run(model, 1, { ...sampling, numReturnSequences: 5, maxNewTokens: 10 });
  const [[one]] = await run(model, 1, { ...sampling, maxNewTokens: 10 });
  assert.equal(samples[0], one);
  assert.is(new Set(samples.map(({ ids }) => ids.join(' '))).size, 5);
  assert.ok(new Set(samples.map(({ ids }) => ids.length)).size > 1, 'they end at different times');
  for (const { ids, logProbs, score } of samples) {
    assert.is(ids.indexOf(2, 1) === -1 || ids.indexOf(2, 1) === ids.length - 1, true);
    const sum = logProbs.reduce((a, b) => a + b);
    assert.ok(Math.abs(score - sum / logProbs.length) < 1e-9);
  }
});

test('the highest values are sorted, ties by their index', () => {
  const next = random(1);
  for (const length of [1, 5, 200]) {
    const values = Float32Array.from({ length }, () => Math.floor(8 * next()) || -Infinity);
    const sorted = [...values.keys()].filter(i => values[i] > -Infinity).sort((a, b) => values[b] - values[a] || a - b);
    for (const k of [1, 3, 50, 300]) assert.equal(highestIndices(values, k), sorted.slice(0, k));
  }
});

test.run();
