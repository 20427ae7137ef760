import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { filterByLabel, filterByScore } from '../../src/results/filter.ts';
import type { TaskResult } from '../../src/results/types.ts';

const common = { imageSize: { width: 100, height: 100 }, answer: '', truncated: false };
const box = [1, 2, 3, 4] as [number, number, number, number];

test('objects below the limit are omitted, by their confidence and not by their score', () => {
  const boxes = [
    { label: 'sure', box, score: 0.02, confidence: 0.9 },
    { label: 'at the limit', box, score: 0.02, confidence: 0.5 },
    { label: 'unsure', box, score: 0.99, confidence: 0.4 },
    { label: 'unknown', box },
  ];
  const result = filterByScore({ task: '<OD>', boxes, ...common }, 0.5);
  assert.equal('boxes' in result && result.boxes, [boxes[0], boxes[1], boxes[3]]);
});

test('a phrase is omitted with its last box, and texts are kept', () => {
  const phrases = [
    { phrase: 'a cat', boxes: [{ box, confidence: 0.9 }, { box, confidence: 0.1 }] },
    { phrase: 'a dog', boxes: [{ box, confidence: 0.1 }] },
  ]; // biome-ignore format: one line
  const result = filterByScore({ task: '<CAPTION_TO_PHRASE_GROUNDING>', phrases, ...common }, 0.5);
  assert.equal('phrases' in result && result.phrases, [{ phrase: 'a cat', boxes: [{ box, confidence: 0.9 }] }]);
  const text: TaskResult = { task: '<CAPTION>', text: 'a cat', confidence: 0.1, ...common };
  assert.equal(filterByScore(text, 0.5), text);
});

test('filterByLabel keeps the objects of the given labels, in any case', () => {
  const boxes = ['car', 'Bus', 'cart'].map(label => ({ label, box }));
  const result = { task: '<OD>' as const, boxes, ...common };
  const labels = (wanted: string[]) => filterByLabel(result, wanted).boxes.map(({ label }) => label);
  assert.equal(labels(['CAR', ' bus ']), ['car', 'Bus']);
  assert.equal(labels(['zebra']), []);
  assert.is(result.boxes.length, 3, 'the result itself is unchanged');
  const words: TaskResult = { task: '<CAPTION>', text: 'a car', ...common };
  assert.equal(filterByLabel(words, ['bus']), words);
});

test.run();
