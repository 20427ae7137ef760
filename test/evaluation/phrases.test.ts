import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type GroundedPhrase, phraseRecalls } from '../../src/evaluation/judge.ts';

const a = [0, 0, 10, 10];
const halfOfA = [0, 0, 5, 10]; // IoU 0.5
const lessOfA = [0, 0, 4.9, 10];
const b = [50, 50, 60, 60];

/** A phrase and its boxes; a number behind a box is its score. */
const phrase = (words: string, ...boxes: (number[] | [number[], number])[]): GroundedPhrase => ({
  phrase: words,
  boxes: boxes.map(box =>
    Array.isArray(box[0]) ? { box: box[0], score: box[1] as number } : { box: box as number[] },
  ),
});

const cases: [what: string, truth: GroundedPhrase[], found: GroundedPhrase[], recalls: number[]][] = [
  ['found', [phrase('a car', a)], [phrase('a car', a)], [1]],
  ['an IoU of one half is enough', [phrase('a car', a)], [phrase('a car', halfOfA)], [1]],
  ['less is not', [phrase('a car', a)], [phrase('a car', lessOfA)], [0]],
  ['any of its boxes', [phrase('cars', b, a)], [phrase('cars', a)], [1]],
  ['only the first box found counts', [phrase('a car', a)], [phrase('a car', b, a)], [0]],
  ['or that of the highest score', [phrase('a car', a)], [phrase('a car', [b, 0.3], [a, 0.9])], [1]],
  ['under other words', [phrase('a car', a)], [phrase('a bus', a)], [0]],
  ['not found', [phrase('a car', a), phrase('a bus', b)], [phrase('a bus', b)], [0, 1]],
  ['repeated words go in their order', [phrase('a car', a), phrase('a car', b)], [phrase('a car', a), phrase('a car', b)], [1, 1]], // biome-ignore format: one line
  ['and not across', [phrase('a car', a), phrase('a car', b)], [phrase('a car', b), phrase('a car', a)], [0, 0]],
  ['words that name nothing in the image', [phrase('a car')], [phrase('a car', a)], []],
  ['more than was asked', [], [phrase('a car', a)], []],
];

for (const [what, truth, found, recalls] of cases) {
  test(what, () => assert.equal(phraseRecalls(truth, found), recalls));
}

test.run();
