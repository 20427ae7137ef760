import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { turnResult } from '../../src/results/turn.ts';
import type { TaskResult } from '../../src/results/types.ts';

const common = { imageSize: { width: 30, height: 20 }, answer: '', truncated: false };

test('places of an upright image turned to the stored one, at orientation 6', () => {
  const results: [TaskResult, object][] = [
    [
      { task: '<OD>', boxes: [{ label: 'a', box: [2, 3, 10, 8], score: 0.5 }], ...common },
      { boxes: [{ label: 'a', box: [3, 20, 8, 28], score: 0.5 }] },
    ],
    [
      { task: '<CAPTION_TO_PHRASE_GROUNDING>', phrases: [{ phrase: 'a', boxes: [{ box: [2, 3, 10, 8] }] }], ...common },
      { phrases: [{ phrase: 'a', boxes: [{ box: [3, 20, 8, 28] }] }] },
    ],
    [
      { task: '<OCR_WITH_REGION>', quads: [{ text: 'a', quad: [2, 3, 10, 3, 10, 8, 2, 8] }], ...common },
      { quads: [{ text: 'a', quad: [3, 28, 3, 20, 8, 20, 8, 28] }] },
    ],
    [
      { task: '<REGION_TO_SEGMENTATION>', instances: [{ label: '', polygons: [[2, 3, 10, 8, 2, 8]] }], ...common },
      { instances: [{ label: '', polygons: [[3, 28, 8, 20, 8, 28]] }] },
    ],
    [{ task: '<CAPTION>', text: 'a', ...common }, { text: 'a' }],
  ];
  for (const [upright, turned] of results) {
    assert.equal(turnResult(upright, 6), { ...upright, ...turned, imageSize: { width: 20, height: 30 } }, upright.task);
    assert.is(turnResult(upright, 1), upright);
  }
});

test.run();
