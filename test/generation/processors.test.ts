import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { forcedToken, NgramBlock } from '../../src/generation/processors.ts';
import { plain, random, repeats } from './toy.ts';

const ascending = (tokens: Iterable<number>): number[] => [...new Set(tokens)].sort((a, b) => a - b);

test('the n-gram block bans the tokens found by a search of the whole sequence', () => {
  for (const size of [0, 1, 2, 3, 4]) {
    for (const vocabulary of [2, 3, 6]) {
      const next = random(size * 10 + vocabulary);
      const sequence = [2];
      const block = NgramBlock.of(size, 2);
      for (let length = 1; length <= 60; length++) {
        const what = `size ${size} after ${sequence}`;
        assert.equal(ascending(block.banned()), ascending(repeats(sequence, size)), what);
        const token = Math.floor(next() * vocabulary);
        sequence.push(token);
        block.append(token);
      }
    }
  }
});

test('the decoder start token is part of an n-gram', () => {
  const block = NgramBlock.of(3, 2);
  for (const token of [5, 6, 2, 5]) block.append(token);
  assert.equal(block.banned(), [6], '2 5 6 has occurred');
});

test('a fork is independent', () => {
  const block = NgramBlock.of(2, 2);
  for (const token of [5, 6, 5]) block.append(token);
  const fork = block.fork();
  fork.append(7);
  fork.append(5);
  block.append(8);
  block.append(5);
  assert.equal(ascending(fork.banned()), [6, 7]);
  assert.equal(ascending(block.banned()), [6, 8]);
});

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

test.run();
