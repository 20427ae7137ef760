import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { promptOf, type TaskArguments, taskText } from '../../src/text/prompt.ts';
import type { Task } from '../../src/text/tasks.ts';
import { referenceJson } from '../reference.ts';

test('prompts with regions in pixels equal those of the reference', () => {
  const { region_prompts } = referenceJson('processor/quantize.json');
  assert.ok(region_prompts.length >= 16);
  for (const { task, image_size, box, text, prompt } of region_prompts) {
    const size = { width: image_size[0], height: image_size[1] };
    assert.is(taskText(task, { box }, size), text);
    assert.is(promptOf(task, { box }, size), prompt);
  }
});

test('taskText trims texts and keeps location tokens', () => {
  const cases: [Task, TaskArguments, string][] = [
    ['<OD>', {}, '<OD>'],
    ['<OD>', { text: '' }, '<OD>'],
    ['<CAPTION_TO_PHRASE_GROUNDING>', { text: ' a dog\n' }, '<CAPTION_TO_PHRASE_GROUNDING>a dog'],
    [
      '<REGION_TO_OCR>',
      { text: '<loc_0><loc_0><loc_999><loc_999>' },
      '<REGION_TO_OCR><loc_0><loc_0><loc_999><loc_999>',
    ],
  ];
  for (const [task, given, expected] of cases) assert.is(taskText(task, given), expected);
});

test('errors for wrong arguments name what the task takes', () => {
  const image = { width: 640, height: 480 };
  const box = [1, 2, 3, 4];
  const cases: [Task, TaskArguments, RegExp][] = [
    ['<OD>', { text: 'dog' }, /^Task <OD> \(od\) takes no text/],
    ['<CAPTION>', { box }, /^Task <CAPTION> \(caption\) takes no box/],
    ['<CAPTION_TO_PHRASE_GROUNDING>', {}, /needs a text/],
    ['<CAPTION_TO_PHRASE_GROUNDING>', { text: '  ' }, /needs a text/],
    ['<OPEN_VOCABULARY_DETECTION>', { text: 'dog', box }, /takes a text, not a box/],
    ['<REGION_TO_OCR>', {}, /needs a region/],
    ['<REGION_TO_OCR>', { text: 'dog' }, /needs a region/],
    ['<REGION_TO_OCR>', { text: '<loc_1><loc_2><loc_3>' }, /needs a region/],
    ['<REGION_TO_OCR>', { text: '<loc_1><loc_2><loc_3><loc_4>', box }, /takes one region/],
    ['<REGION_TO_CATEGORY>', { box: [1, 2, 3] }, /A box has 4 numbers/],
    ['<REGION_TO_CATEGORY>', { box: [1, 2, 3, Number.NaN] }, /Coordinate 3 is NaN/],
  ];
  for (const [task, given, message] of cases) {
    assert.throws(
      () => taskText(task, given, image),
      (e: unknown) => e instanceof UsageError && message.test(e.message),
      `${task} ${JSON.stringify(given)}`,
    );
  }
  assert.throws(() => taskText('<REGION_TO_CATEGORY>', { box }), /needs the image size/);
});

test('promptOf accepts whole prompts, without a text or box', () => {
  const image = { width: 640, height: 480 };
  for (const [task, prompt] of [
    ['How many dogs are there?', 'How many dogs are there?'],
    ['<CAPTION_TO_PHRASE_GROUNDING>a dog', 'Locate the phrases in the caption: a dog'],
  ]) {
    assert.is(promptOf(task, {}, image), prompt);
    for (const given of [{ text: 'dog' }, { box: [1, 2, 3, 4] }]) {
      assert.throws(
        () => promptOf(task, given, image),
        (e: unknown) => e instanceof UsageError && /A custom prompt takes no|already contains/.test(e.message),
      );
    }
  }
});

test.run();
