import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type GroundedPhrase, outlinesIou, phraseRecalls } from '../../src/evaluation/judge.ts';

const image = { width: 100, height: 100 };

/** A rectangle of whole pixels, both corners included. */
const rectangle = (x1: number, y1: number, x2: number, y2: number): number[] => [x1, y1, x2, y1, x2, y2, x1, y2];

const left = rectangle(0, 0, 9, 9); // 100 pixels
const right = rectangle(10, 0, 19, 9); // 100 pixels next to it
const both = rectangle(0, 0, 19, 9);
const middle = rectangle(5, 0, 14, 9);

const outlineCases: [what: string, truth: number[][][], found: number[][][], iou: number][] = [
  ['identical', [[left]], [[left]], 1],
  ['two parts found as one', [[left, right]], [[both]], 1],
  ['one object found as two', [[both]], [[left], [right]], 1],
  ['overlapping parts count once', [[both]], [[left], [middle], [right]], 1],
  ['half found', [[both]], [[left]], 0.5],
  ['shifted by half', [[left]], [[middle]], 50 / 150],
  ['disjoint', [[left]], [[right]], 0],
  ['nothing found', [[left]], [], 0],
  ['nothing true', [], [[left]], 0],
  ['nothing true, nothing found', [], [], 1],
  ['a line has no area', [[left]], [[[0, 0, 9, 9]]], 0],
];

for (const [what, truth, found, iou] of outlineCases) {
  test(`IoU of outlines: ${what}`, () => {
    const outlines = (objects: number[][][]) => objects.map(polygons => ({ polygons }));
    assert.is(outlinesIou(outlines(truth), outlines(found), image), iou);
  });
}

const a = [0, 0, 10, 10];
const halfOfA = [0, 0, 5, 10]; // IoU 0.5
const lessOfA = [0, 0, 4.9, 10];
const b = [50, 50, 60, 60];

/** A phrase and its boxes, each alone or as `[box, score]`. */
const phrase = (words: string, ...boxes: (number[] | [number[], number])[]): GroundedPhrase => ({
  phrase: words,
  boxes: boxes.map(box =>
    Array.isArray(box[0]) ? { box: box[0], score: box[1] as number } : { box: box as number[] },
  ),
});

const phraseCases: [what: string, truth: GroundedPhrase[], found: GroundedPhrase[], recalls: number[]][] = [
  ['found', [phrase('a car', a)], [phrase('a car', a)], [1]],
  ['an IoU of 0.5 suffices', [phrase('a car', a)], [phrase('a car', halfOfA)], [1]],
  ['an IoU below 0.5 does not', [phrase('a car', a)], [phrase('a car', lessOfA)], [0]],
  ['any true box', [phrase('cars', b, a)], [phrase('cars', a)], [1]],
  ['only the first found box counts', [phrase('a car', a)], [phrase('a car', b, a)], [0]],
  ['only the found box with the highest score counts', [phrase('a car', a)], [phrase('a car', [b, 0.3], [a, 0.9])], [1]],
  ['found under other words', [phrase('a car', a)], [phrase('a bus', a)], [0]],
  ['not found', [phrase('a car', a), phrase('a bus', b)], [phrase('a bus', b)], [0, 1]],
  ['repeated words in order', [phrase('a car', a), phrase('a car', b)], [phrase('a car', a), phrase('a car', b)], [1, 1]],
  ['repeated words out of order', [phrase('a car', a), phrase('a car', b)], [phrase('a car', b), phrase('a car', a)], [0, 0]],
  ['true phrases without boxes are skipped', [phrase('a car')], [phrase('a car', a)], []],
  ['more phrases than are true', [], [phrase('a car', a)], []],
]; // biome-ignore format: as a table

for (const [what, truth, found, recalls] of phraseCases) {
  test(`recall@1 of phrases: ${what}`, () => assert.equal(phraseRecalls(truth, found), recalls));
}

test.run();
