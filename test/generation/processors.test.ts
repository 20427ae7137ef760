import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { forcedToken, Processors } from '../../src/generation/processors.ts';
import { keepProbable } from '../../src/generation/sampling.ts';
import { cases, settingsOf } from './processor_cases.ts';
import { logSoftmax, plain } from './toy.ts';

test('forced tokens are the first and the last; forcedEosTokenId takes precedence', () => {
  const cases: [bos: number | null, eos: number | null, maxNewTokens: number, expected: (number | undefined)[]][] = [
    [0, 2, 4, [0, undefined, undefined, 2]],
    [0, null, 3, [0, undefined, undefined]],
    [null, 2, 3, [undefined, undefined, 2]],
    [null, null, 2, [undefined, undefined]],
    [0, 2, 2, [0, 2]],
    [0, 2, 1, [2]],
  ];
  for (const [forcedBosTokenId, forcedEosTokenId, maxNewTokens, expected] of cases) {
    const settings = { ...plain, forcedBosTokenId, forcedEosTokenId, maxNewTokens };
    assert.equal(
      expected.map((_, generated) => forcedToken(settings, generated)),
      expected,
    );
  }
});

test('scores are processed as by transformers', () => {
  assert.ok(cases.scores.length > 60);
  for (const one of cases.scores) {
    const settings = settingsOf(one);
    const processors = Processors.of(settings);
    for (const token of one.sequence.slice(1)) processors.append(token);
    const start = settings.numBeams > 1 ? logSoftmax(one.logits) : one.logits;
    const scores = Float32Array.from(start);
    processors.process(scores);
    if (settings.doSample) keepProbable(scores, settings);
    scores.forEach((score, token) => {
      const expected = one.scores[token] ?? -Infinity;
      const what = `token ${token} after ${one.sequence}, ${JSON.stringify(one.settings)}: ${score}, not ${expected}`;
      assert.ok(score === expected || Math.abs(score - expected) < 2e-5, what);
    });
    const banned = new Set(processors.banned());
    if (settings.doSample) continue;
    assert.equal(
      [...scores.keys()].filter(token => banned.has(token)),
      [...scores.keys()].filter(token => one.scores[token] === null),
      `banned, ${JSON.stringify(one.settings)}`,
    );
  }
});

test('a fork is independent', () => {
  const settings = { ...plain, badWords: [[5, 6]], noRepeatNgramSize: 2, repetitionPenalty: 2 };
  const processors = Processors.of(settings);
  processors.append(4);
  const fork = processors.fork();
  fork.append(5);
  processors.append(7);
  assert.equal(fork.banned(), [6]);
  assert.equal(processors.banned(), []);
  const scores = [new Float32Array(9).fill(1), new Float32Array(9).fill(1)];
  fork.process(scores[0]);
  processors.process(scores[1]);
  assert.equal([...scores[0]], [1, 1, 0.5, 1, 0.5, 0.5, -Infinity, 1, 1]);
  assert.equal([...scores[1]], [1, 1, 0.5, 1, 0.5, 1, 1, 0.5, 1]);
});

test.run();
