import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { outlinesIou } from '../../src/evaluation/judge.ts';

const image = { width: 100, height: 100 };

/** A rectangle of whole pixels, both corners included. */
const rectangle = (x1: number, y1: number, x2: number, y2: number): number[] => [x1, y1, x2, y1, x2, y2, x1, y2];
const object = (...polygons: number[][]) => ({ polygons });

const left = rectangle(0, 0, 9, 9); // 100 pixels
const right = rectangle(10, 0, 19, 9); // 100 pixels beside it
const both = rectangle(0, 0, 19, 9);
const middle = rectangle(5, 0, 14, 9);

const cases: [what: string, truth: number[][][], found: number[][][], iou: number][] = [
  ['the same', [[left]], [[left]], 1],
  ['two parts found as one', [[left, right]], [[both]], 1],
  ['one object found as two', [[both]], [[left], [right]], 1],
  ['parts that overlap count once', [[both]], [[left], [middle], [right]], 1],
  ['half of it', [[both]], [[left]], 0.5],
  ['half beside it', [[left]], [[middle]], 50 / 150],
  ['elsewhere', [[left]], [[right]], 0],
  ['nothing found', [[left]], [], 0],
  ['nothing to be found', [], [[left]], 0],
  ['nothing to be found, nothing found', [], [], 1],
  ['a line is no area', [[left]], [[[0, 0, 9, 9]]], 0],
];

for (const [what, truth, found, iou] of cases) {
  test(what, () => {
    const outlines = (objects: number[][][]) => objects.map(polygons => object(...polygons));
    assert.is(outlinesIou(outlines(truth), outlines(found), image), iou);
  });
}

test.run();
