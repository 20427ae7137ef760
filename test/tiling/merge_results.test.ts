import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { BoxCoordinates } from '../../src/geometry/types.ts';
import { parse } from '../../src/results/parse/parse.ts';
import type { TaskResult } from '../../src/results/types.ts';
import type { Task } from '../../src/text/tasks.ts';
import { mergeResults } from '../../src/tiling/merge_results.ts';

/** Tiles of 1000 pixels, in which the centre of bin n is n + 0.5. */
const image = { width: 1800, height: 1000 };
const [left, right]: BoxCoordinates[] = [[0, 0, 1000, 1000], [800, 0, 1800, 1000]]; // biome-ignore format: one line
const at = (...bins: number[]): string => bins.map(bin => `<loc_${bin}>`).join('');

/** Merges the answers about the left and the right tile. */
function merged(task: Task, a: string, b: string, merge?: 'nms' | 'nmm'): TaskResult {
  const size = { width: 1000, height: 1000 };
  const views = [
    { box: left, result: parse(a, task, size) as TaskResult },
    { box: right, result: parse(b, task, size, { truncated: true }) as TaskResult },
  ];
  return mergeResults(views, image, { merge });
}

test('boxes: moved by whole pixels, merged within their class', () => {
  const seen = [`car${at(700, 10, 999, 60)}${at(10, 10, 60, 60)}`, `car${at(0, 10, 300, 60)}bus${at(0, 10, 300, 60)}`];
  const result = merged('<OD>', seen[0], `${seen[1]}dog${at(9, 9, 1, 1)}`);
  assert.equal(result, {
    task: '<OD>',
    boxes: [
      { label: 'car', box: [700.5, 10.5, 1100.5, 60.5] },
      { label: 'car', box: [10.5, 10.5, 60.5, 60.5] },
      { label: 'bus', box: [800.5, 10.5, 1100.5, 60.5] },
    ],
    imageSize: image,
    answer: `${seen[0]}\n${seen[1]}dog${at(9, 9, 1, 1)}`,
    truncated: true,
    dropped: 1,
  });
});

test('region captions: merged whatever their words', () => {
  const result = merged(
    '<DENSE_REGION_CAPTION>',
    `a red car${at(700, 10, 999, 60)}`,
    `part of a car${at(0, 10, 300, 60)}`,
  );
  assert.equal('boxes' in result && result.boxes, [{ label: 'a red car', box: [700.5, 10.5, 1100.5, 60.5] }]);
});

test('outlines: the polygons of all views with nmm, of the best with nms', () => {
  const outline = (...bins: number[]): string => `car<poly>${at(...bins)}</poly>`;
  const [a, b] = [outline(700, 10, 999, 10, 999, 60, 700, 60), outline(0, 10, 300, 10, 300, 60)];
  const whole = [700.5, 10.5, 999.5, 10.5, 999.5, 60.5, 700.5, 60.5];
  const part = [800.5, 10.5, 1100.5, 10.5, 1100.5, 60.5];
  const union = merged('<OPEN_VOCABULARY_DETECTION>', a, b);
  assert.equal('instances' in union && union.instances, [{ label: 'car', polygons: [whole, part] }]);
  const best = merged('<OPEN_VOCABULARY_DETECTION>', a, b, 'nms');
  assert.equal('instances' in best && best.instances, [{ label: 'car', polygons: [whole] }]);
});

test('lines of text: the longest reading of a line', () => {
  const quad = (x1: number, y1: number, x2: number, y2: number) => at(x1, y1, x2, y1, x2, y2, x1, y2);
  const result = merged('<OCR_WITH_REGION>', `GRAND HO${quad(700, 10, 999, 60)}`, `GRAND HOTEL${quad(0, 10, 300, 60)}1${quad(500, 0, 510, 9)}`); // biome-ignore format: one line
  assert.equal('quads' in result && result.quads.map(({ text, quad: [x1] }) => [text, x1]), [['GRAND HOTEL', 800.5], ['1', 1300.5]]); // biome-ignore format: one line
});

test('phrases: the boxes of each phrase', () => {
  const result = merged('<CAPTION_TO_PHRASE_GROUNDING>', `a car${at(700, 10, 999, 60)}a dog${at(1, 1, 9, 9)}`, `a car${at(0, 10, 300, 60)}${at(600, 0, 700, 9)}`); // biome-ignore format: one line
  assert.equal('phrases' in result && result.phrases, [
    { phrase: 'a car', boxes: [{ box: [700.5, 10.5, 1100.5, 60.5] }, { box: [1400.5, 0.5, 1500.5, 9.5] }] },
    { phrase: 'a dog', boxes: [{ box: [1.5, 1.5, 9.5, 9.5] }] },
  ]);
});

test.run();
