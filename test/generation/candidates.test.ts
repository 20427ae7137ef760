import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NEARBY_BINS, topCandidates } from '../../src/generation/candidates.ts';
import type { LocationTokens } from '../../src/text/locations.ts';
import { withoutLeaks } from '../backend.ts';
import { logSoftmax, random } from './toy.ts';

/** The candidates by definition: sorts the whole row. */
function expected(row: number[], banned: number[], k: number): { token: number; logProb: number }[] {
  const scores = logSoftmax(row).map((logProb, token) => ({ token, logProb }));
  const allowed = scores.filter(({ token, logProb }) => !banned.includes(token) && logProb > -Infinity);
  return allowed.sort((a, b) => b.logProb - a.logProb || a.token - b.token).slice(0, k);
}

async function check(logits: number[][], banned: number[][], k: number, what: string): Promise<void> {
  const actual = await withoutLeaks(() => topCandidates(tf.tensor2d(logits), banned, k));
  logits.forEach((row, r) => {
    const wanted = expected(row, banned[r], k);
    assert.equal(
      actual[r].map(({ token }) => token),
      wanted.map(({ token }) => token),
      `${what}, row ${r}`,
    );
    actual[r].forEach(({ token, logProb }, i) => {
      const off = Math.abs(logProb - wanted[i].logProb);
      assert.ok(off < 2e-6 * Math.max(1, Math.abs(logProb)), `${what}, row ${r}, token ${token}: off by ${off}`);
    });
  });
}

test('the best tokens that are not banned, with probabilities normalised over all tokens', async () => {
  const next = random(3);
  for (const vocabSize of [5, 100, 1500, 51289]) {
    const logits = [0, 1, 2].map(() => Array.from({ length: vocabSize }, () => Math.fround(12 * next() - 6)));
    const best = logits.map(row => expected(row, [], 4).map(({ token }) => token));
    await check(logits, [[], [], []], 1, `${vocabSize} tokens, best`);
    await check(logits, [[], best[1].slice(0, 2), [best[2][1], 0]], 3, `${vocabSize} tokens, some banned`);
    await check(logits, [best[0], best[1].slice(1), [1, 1, 1]], 6, `${vocabSize} tokens, k 6`);
  }
});

test('the probability near a location token is that of the location tokens within 20 bins, near another token its own', async () => {
  assert.is(NEARBY_BINS, 20);
  const next = random(5);
  const locations = { first: 20, count: 40 }; // ids 20 to 59 of 100
  const cases: [token: number, near: [from: number, to: number]][] = [
    [19, [19, 19]],
    [20, [20, 40]],
    [25, [20, 45]],
    [40, [20, 59]],
    [42, [22, 59]],
    [59, [39, 59]],
    [60, [60, 60]],
    [0, [0, 0]],
    [99, [99, 99]],
  ];
  const logits = cases.map(([token]) =>
    Array.from({ length: 100 }, (_, i) => Math.fround(i === token ? 7 : 4 * next())),
  );
  for (const range of [locations, undefined, { first: 90, count: 40 }]) {
    const none = cases.map(() => []);
    const found = await withoutLeaks(() => topCandidates(tf.tensor2d(logits), none, 3, range));
    found.forEach((row, r) => {
      const probs = logSoftmax(logits[r]).map(Math.exp);
      assert.is(row[0].token, cases[r][0]);
      row.forEach(({ token, nearbyProb }, i) => {
        const wanted = i === 0 && range === locations ? sum(probs, ...cases[r][1]) : nearby(probs, token, range);
        assert.ok(Math.abs(nearbyProb - wanted) < 1e-6, `token ${token}: ${nearbyProb}, not ${wanted}`);
      });
    });
  }
});

/** Sums probabilities from one id to another, both included. */
const sum = (probs: number[], from: number, to: number): number =>
  probs.slice(from, to + 1).reduce((total, p) => total + p, 0);

function nearby(probs: number[], token: number, { first, count }: LocationTokens = { first: 0, count: 0 }): number {
  const isLocation = (id: number) => id >= first && id < first + count;
  return probs
    .filter((_, id) => id === token || (isLocation(token) && isLocation(id) && Math.abs(id - token) <= NEARBY_BINS))
    .reduce((total, p) => total + p, 0);
}

test('ties: the lower id is first', async () => {
  const flat = new Array(1000).fill(0.25);
  const steps = Array.from({ length: 1000 }, (_, token) => [3, 1, 3, 2][token % 4]);
  await check([flat, steps], [[], []], 6, 'ties');
  await check(
    [flat, steps],
    [
      [0, 2],
      [0, 2, 500],
    ],
    4,
    'ties and bans',
  );
});

test('tokens with logit -Infinity are not candidates', async () => {
  await check([[1, -Infinity, 0, -Infinity, 2]], [[4]], 4, 'minus infinity');
});

test('logits that differ widely keep their precision', async () => {
  await check(
    [
      [80, -80, 79.5, 0],
      [-1000, -1001, -1000.5, -2000],
    ],
    [[], []],
    3,
    'large',
  );
});

test('logits that are not finite are an error, which leaks no tensors', async () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    await withoutLeaks(async () => {
      const error = await topCandidates(
        tf.tensor2d([
          [0, 1],
          [bad, 1],
        ]),
        [[], []],
        1,
      ).catch(e => e);
      assert.match(String(error), /Florence2Error: .*not finite/);
    });
  }
});

test.run();
