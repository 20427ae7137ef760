import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { boxToTokens } from '../../src/text/locations.ts';
import { promptOf, type TaskArguments, taskText } from '../../src/text/prompt.ts';
import type { Task } from '../../src/text/tasks.ts';
import { referenceJson } from '../reference.ts';

test('prompts with regions in pixels equal those of the reference', () => {
  const { region_prompts } = referenceJson('processor/quantize.json');
  assert.ok(region_prompts.length >= 16);
  for (const { task, image_size, box, text, prompt } of region_prompts) {
    const size = { width: image_size[0], height: image_size[1] };
    assert.is(task + boxToTokens(box, size), text);
    const isInside = box[0] >= 0 && box[1] >= 0 && box[2] <= size.width && box[3] <= size.height;
    const region = isInside ? { box } : { text: boxToTokens(box, size) }; // only here the reference clips more than a pixel
    assert.is(taskText(task, region, size), text);
    assert.is(promptOf(task, region, size), prompt);
  }
});

test('taskText trims texts and keeps location tokens', () => {
  const cases: [Task, TaskArguments, string][] = [
    ['<OD>', {}, '<OD>'],
    ['<OD>', { text: '' }, '<OD>'],
    ['<CAPTION_TO_PHRASE_GROUNDING>', { text: ' a dog\n' }, '<CAPTION_TO_PHRASE_GROUNDING>a dog'],
    ['<CAPTION_TO_PHRASE_GROUNDING>', { text: ['a dog ', 'a cat'] }, '<CAPTION_TO_PHRASE_GROUNDING>a dog<and>a cat'],
    ['<OPEN_VOCABULARY_DETECTION>', { text: ['car'] }, '<OPEN_VOCABULARY_DETECTION>car'],
    ['<REFERRING_EXPRESSION_SEGMENTATION>', { text: ['a car'] }, '<REFERRING_EXPRESSION_SEGMENTATION>a car'],
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
    ['<REGION_TO_CATEGORY>', { box: [1, 2, 3] }, /^box must be a list of four numbers of pixels .*, not \[1,2,3\]\.$/],
    ['<REGION_TO_CATEGORY>', { box: [1, 2, 3, Number.NaN] }, /^box must be a list of four numbers/],
    ['<REGION_TO_CATEGORY>', { box: 5 as never }, /^box must be a list of four numbers .*, not 5\.$/],
    ['<REGION_TO_CATEGORY>', { box: null as never }, /needs a region/],
    ['<REGION_TO_CATEGORY>', { box: [300, 20, 10, 200] }, /^The box 300,20,10,200 has x1 > x2 or y1 > y2\.$/],
    [
      '<REGION_TO_CATEGORY>',
      { box: [10, 20, 650, 200] },
      /^The box 10,20,650,200 is not within the image, which has 640 × 480 pixels\.$/,
    ],
    ['<REGION_TO_CATEGORY>', { box: [10, -3, 640, 200] }, /is not within the image/],
    ['<OPEN_VOCABULARY_DETECTION>', { text: 5 as never }, /^text must be a text or a list of texts, not 5\.$/],
    ['<OPEN_VOCABULARY_DETECTION>', { text: ['car', 5] as never }, /^text must be a text or a list of texts/],
    ['<OPEN_VOCABULARY_DETECTION>', { text: [] }, /needs a text/],
    ['<OPEN_VOCABULARY_DETECTION>', { text: ['car', ' '] }, /^text is a list with an empty text\.$/],
    ['<REFERRING_EXPRESSION_SEGMENTATION>', { text: ['a car', 'a bus'] }, /takes a single expression, not a list of 2/],
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

test('a box may be up to one pixel outside the image', () => {
  const text = taskText('<REGION_TO_OCR>', { box: [-1, -0.4, 641, 480.9] }, { width: 640, height: 480 });
  assert.is(text, '<REGION_TO_OCR><loc_0><loc_0><loc_999><loc_999>');
});

test('promptOf accepts the names of tasks', () => {
  const image = { width: 640, height: 480 };
  assert.is(promptOf('od', {}, image), 'Locate the objects with category name in the image.');
  assert.is(promptOf('grounding', { text: 'a dog' }, image), 'Locate the phrases in the caption: a dog');
  assert.throws(() => promptOf('<CAPTON>', {}, image), /Did you mean <CAPTION>\?/);
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
