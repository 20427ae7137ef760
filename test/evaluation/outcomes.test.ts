import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { outcomesOf } from '../../src/evaluation/outcomes.ts';
import type { TypedAnswer } from '../../src/results/format.ts';
import type { TaskResult } from '../../src/results/types.ts';

const common = { imageSize: { width: 100, height: 100 }, answer: '', truncated: false };
type Box = [number, number, number, number];
const whole: Box = [0, 0, 40, 40];
const half: Box = [0, 0, 40, 20]; // IoU 0.5 with `whole`
const less: Box = [0, 0, 40, 19];
const corners = ([x1, y1, x2, y2]: Box) => [x1, y1, x2, y1, x2, y2, x1, y2];

/** The outcomes as [confidence, right]. */
function check(truth: TypedAnswer, result: TaskResult, expected: [number, boolean][]): void {
  const found = outcomesOf(truth, result).map(({ confidence, right }) => [confidence, right]);
  assert.equal(found, expected);
}

test('a box is right if its label is right and its IoU at least 0.5; a true box counts once, for the surest box', () => {
  const truth = { boxes: [{ label: 'cat', box: whole }, { label: 'dog', box: whole }] }; // biome-ignore format: one line
  const boxes = [
    { label: 'cat', box: whole, confidence: 0.2 },
    { label: 'cat', box: half, confidence: 0.6 },
    { label: 'dog', box: less, confidence: 0.9 },
    { label: 'cow', box: whole, confidence: 0.8 },
    { label: 'dog', box: whole },
  ];
  check(truth, { task: '<OD>', boxes, ...common }, [[0.6, true], [0.2, false], [0.9, false], [0.8, false]]); // biome-ignore format: one line
});

test('boxes of phrases are compared with those of the same phrase', () => {
  const truth = { phrases: [{ phrase: 'a cat', boxes: [{ box: whole }] }, { phrase: 'a dog', boxes: [{ box: [50, 50, 90, 90] }] }] }; // biome-ignore format: one line
  const phrases = [
    { phrase: 'a cat', boxes: [{ box: whole, confidence: 0.3 }] },
    { phrase: 'a dog', boxes: [{ box: whole, confidence: 0.4 }] },
  ];
  check(truth, { task: '<CAPTION_TO_PHRASE_GROUNDING>', phrases, ...common }, [[0.3, true], [0.4, false]]); // biome-ignore format: one line
});

test('a line of text is right if its words and its bounding box are', () => {
  const quad = corners(whole) as [number, number, number, number, number, number, number, number];
  const truth = { quads: [{ text: 'STOP', quad }] };
  const quads = [{ text: 'STOP', quad, confidence: 0.7 }, { text: 'STEP', quad, confidence: 0.6 }]; // biome-ignore format: one line
  check(truth, { task: '<OCR_WITH_REGION>', quads, ...common }, [
    [0.7, true],
    [0.6, false],
  ]);
});

test('outlines are compared as masks', () => {
  const truth = { instances: [{ label: 'any', polygons: [corners(whole)] }] };
  for (const [box, right] of [
    [half, true],
    [less, false],
  ] as const) {
    // biome-ignore format: one line
    const instances = [{ label: '', polygons: [corners(box)], confidence: 0.5 }];
    check(truth, { task: '<REFERRING_EXPRESSION_SEGMENTATION>', instances, ...common }, [[0.5, right]]);
  }
  const instances = [{ label: 'other', polygons: [corners(whole)], confidence: 0.5 }];
  check(truth, { task: '<OPEN_VOCABULARY_DETECTION>', boxes: [], instances, ...common }, [[0.5, false]]);
});

test('a text is right if it equals the true one', () => {
  for (const [text, right] of [
    ['a  cat', true],
    ['a dog', false],
  ] as const) {
    // biome-ignore format: one line
    check({ text: 'a cat' }, { task: '<CAPTION>', text, confidence: 0.4, ...common }, [[0.4, right]]);
  }
  check({ text: 'a cat' }, { task: '<CAPTION>', text: 'a cat', ...common }, []);
});

test.run();
