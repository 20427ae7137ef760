import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from '../../src/results/parse/parse.ts';
import type { Task } from '../../src/text/tasks.ts';
import { isRight } from '../../tools/demo/right.ts';

const size = { width: 1000, height: 1000 };

const cases: [task: Task, truth: string, answer: string, right: boolean][] = [
  ['<CAPTION>', 'a red circle', 'a red circle', true],
  ['<CAPTION>', 'a red circle', 'a red square', false],
  ['<OD>', 'a<loc_0><loc_0><loc_99><loc_99>', 'a<loc_0><loc_0><loc_99><loc_79>', true], // IoU 0.8
  ['<OD>', 'a<loc_0><loc_0><loc_99><loc_99>', 'a<loc_0><loc_0><loc_99><loc_69>', false], // IoU 0.7
  ['<OD>', 'a<loc_0><loc_0><loc_99><loc_99>', 'b<loc_0><loc_0><loc_99><loc_99>', false],
  ['<OD>', 'a<loc_0><loc_0><loc_99><loc_99>', 'a<loc_0><loc_0><loc_99><loc_99>b<loc_5><loc_5><loc_9><loc_9>', false],
  ['<OPEN_VOCABULARY_DETECTION>', '', '', true],
  ['<OPEN_VOCABULARY_DETECTION>', '', 'a<loc_0><loc_0><loc_99><loc_99>', false],
  ['<CAPTION_TO_PHRASE_GROUNDING>', 'a b<loc_0><loc_0><loc_99><loc_99>', 'a b<loc_0><loc_0><loc_99><loc_89>', true],
  ['<CAPTION_TO_PHRASE_GROUNDING>', 'a b<loc_0><loc_0><loc_99><loc_99>', 'a c<loc_0><loc_0><loc_99><loc_99>', false],
  [
    '<OCR_WITH_REGION>',
    'A<loc_0><loc_0><loc_99><loc_0><loc_99><loc_99><loc_0><loc_99>',
    'A<loc_0><loc_0><loc_94><loc_0><loc_94><loc_99><loc_0><loc_99>',
    true,
  ],
  [
    '<REFERRING_EXPRESSION_SEGMENTATION>',
    '<loc_0><loc_0><loc_99><loc_0><loc_99><loc_99><loc_0><loc_99>',
    '<loc_0><loc_0><loc_99><loc_0><loc_99><loc_99>', // half of the square
    false,
  ],
];

for (const [task, truth, answer, right] of cases) {
  test(`${task} ${answer || 'nothing'} for ${truth || 'nothing'} is ${right ? 'right' : 'wrong'}`, () => {
    assert.is(isRight(parse(truth, task, size), parse(answer, task, size)), right);
  });
}

test.run();
