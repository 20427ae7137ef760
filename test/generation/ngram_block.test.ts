import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NgramBlock } from '../../src/generation/ngram_block.ts';
import { random, repeats } from './toy.ts';

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

test.run();
