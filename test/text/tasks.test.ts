import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import {
  answeredTask,
  constructPrompt,
  findTask,
  readTask,
  resolveTask,
  suggestTask,
  TASKS,
  taskInfo,
} from '../../src/text/tasks.ts';
import { referenceJson } from '../reference.ts';

const file = referenceJson('processor/prompts.json');

const answerKinds: Record<string, string> = {
  pure_text: 'text',
  description_with_bboxes: 'boxes',
  bboxes: 'proposals',
  phrase_grounding: 'phrases',
  polygons: 'polygons',
  description_with_bboxes_or_polygons: 'boxes or polygons',
  ocr: 'quads',
};

test('the table has the tasks, prompts and answers of the reference', () => {
  assert.is(TASKS.length, 15);
  assert.is(file.tasks.length, 15);
  for (const expected of file.tasks) {
    const row = taskInfo(expected.task as string);
    assert.ok(row, `${expected.task} is missing`);
    assert.is(row.prompt, expected.prompt, expected.task);
    assert.is(row.input !== 'none', expected.needs_input, expected.task);
    assert.is(row.answer, answerKinds[expected.answer_type], expected.task);
  }
});

test('the table is searched in the order of the reference', () => {
  assert.equal(
    TASKS.map(row => row.task),
    [...file.task_order_without_input, ...file.task_order_with_input],
  );
});

test('constructPrompt returns the prompt of the reference, or throws where it does', () => {
  let compared = 0;
  for (const { text, prompt, prompt_hf, error, error_ms } of file.cases) {
    for (const trim of [false, true]) {
      if (error) {
        const token = /<[A-Z_]+>/.exec(error_ms)![0];
        assert.throws(
          () => constructPrompt(text, { trim }),
          (e: unknown) => e instanceof UsageError && e.message.startsWith(`Task ${token} takes no input`),
          `${JSON.stringify(text)} must be an error about ${token}`,
        );
      } else {
        const expected = trim ? (prompt_hf ?? prompt) : prompt;
        assert.is(constructPrompt(text, { trim }), expected, `${JSON.stringify(text)}, trim ${trim}`);
      }
      compared++;
    }
  }
  assert.is(compared, 2 * file.cases.length);
});

test('findTask returns the first task of the table whose token is in the prompt', () => {
  const cases: [text: string, task: string | undefined][] = [
    ['<OD>', '<OD>'],
    ['<CAPTION_TO_PHRASE_GROUNDING>see <OD> here', '<OD>'],
    ['<REGION_TO_OCR>x<OPEN_VOCABULARY_DETECTION>y', '<OPEN_VOCABULARY_DETECTION>'],
    ['<OCR_WITH_REGIONS>', undefined],
    ['<od>', undefined],
    ['', undefined],
  ];
  for (const [text, task] of cases) assert.is(findTask(text)?.task, task, text);
});

test('resolveTask accepts tokens, names and aliases', () => {
  const cases: [name: string, task: string][] = [
    ['<OD>', '<OD>'],
    ['<od>', '<OD>'],
    ['OD', '<OD>'],
    ['od', '<OD>'],
    [' detect ', '<OD>'],
    ['Object Detection', '<OD>'],
    ['caption', '<CAPTION>'],
    ['detailed_caption', '<DETAILED_CAPTION>'],
    ['more-detailed-caption', '<MORE_DETAILED_CAPTION>'],
    ['MORE_DETAILED_CAPTION', '<MORE_DETAILED_CAPTION>'],
    ['dense-region-caption', '<DENSE_REGION_CAPTION>'],
    ['region-proposal', '<REGION_PROPOSAL>'],
    ['grounding', '<CAPTION_TO_PHRASE_GROUNDING>'],
    ['caption-to-phrase-grounding', '<CAPTION_TO_PHRASE_GROUNDING>'],
    ['referring-segmentation', '<REFERRING_EXPRESSION_SEGMENTATION>'],
    ['region-segmentation', '<REGION_TO_SEGMENTATION>'],
    ['open-vocabulary-detection', '<OPEN_VOCABULARY_DETECTION>'],
    ['region-category', '<REGION_TO_CATEGORY>'],
    ['region-description', '<REGION_TO_DESCRIPTION>'],
    ['ocr', '<OCR>'],
    ['ocr-with-region', '<OCR_WITH_REGION>'],
    ['region-ocr', '<REGION_TO_OCR>'],
  ];
  for (const [name, task] of cases) assert.is(resolveTask(name), task, name);
  for (const { task, name, aliases } of TASKS) {
    for (const spelling of [task, name, ...aliases]) assert.is(resolveTask(spelling), task, spelling);
  }
});

test('readTask accepts tokens, names and prompts', () => {
  for (const [text, task] of [
    ['<OD>', '<OD>'],
    ['od', '<OD>'],
    ['<od>', '<OD>'],
    ['Object detection', '<OD>'],
    ['region-ocr', '<REGION_TO_OCR>'],
    ['<CAPTION_TO_PHRASE_GROUNDING>a dog', '<CAPTION_TO_PHRASE_GROUNDING>a dog'],
    ['What is this?', 'What is this?'],
    ['<DocVQA>What is the total?', '<DocVQA>What is the total?'],
    ['caption this', 'caption this'],
    ['<DEFECT>', '<DEFECT>'],
    ['<ID>', '<ID>'],
    ['<OCR2>', '<OCR2>'],
    ['<OPTION>', '<OPTION>'],
    ['<CAPTION_DE>', '<CAPTION_DE>'],
  ]) {
    assert.is(readTask(text), task);
  }
  assert.is(answeredTask('grounding'), '<CAPTION_TO_PHRASE_GROUNDING>');
  assert.is(answeredTask('<CAPTION_TO_PHRASE_GROUNDING>a dog'), '<CAPTION_TO_PHRASE_GROUNDING>');
  assert.is(answeredTask('What is this?'), 'What is this?');
});

test('readTask refuses misspelt tasks, empty texts and other values', () => {
  for (const [text, code, message] of [
    ['<CAPTON>', 'UNKNOWN_TASK', 'Unknown task "<CAPTON>". Did you mean <CAPTION>?'],
    ['<CAPTOIN>', 'UNKNOWN_TASK', 'Unknown task "<CAPTOIN>". Did you mean <CAPTION>?'],
    ['<OCR_WITH_REGIONS>', 'UNKNOWN_TASK', 'Unknown task "<OCR_WITH_REGIONS>". Did you mean <OCR_WITH_REGION>?'],
    ['<od> cars', 'UNKNOWN_TASK', 'Unknown task "<od> cars". Did you mean <OD>?'],
    ['captoin', 'UNKNOWN_TASK', 'Unknown task "captoin". Did you mean "caption"?'],
    [
      'dense_region_captions',
      'UNKNOWN_TASK',
      'Unknown task "dense_region_captions". Did you mean "dense-region-caption"?',
    ],
    ['', 'INVALID_ARGUMENT', 'The task is empty: give a task name, a task token or a prompt.'],
    [' \n', 'INVALID_ARGUMENT', 'The task is empty: give a task name, a task token or a prompt.'],
    [null, 'INVALID_ARGUMENT', 'The task must be a task name, a task token or a prompt, not null.'],
    [['od'], 'INVALID_ARGUMENT', 'The task must be a task name, a task token or a prompt, not ["od"].'],
  ] as const) {
    assert.throws(
      () => readTask(text as string),
      (e: unknown) => e instanceof UsageError && e.code === code && e.message === message,
      String(text),
    );
  }
});

test('the error for a mistyped task suggests the nearest name', () => {
  const cases: [name: string, message: string][] = [
    ['captoin', 'Unknown task "captoin". Did you mean "caption"?'],
    ['<CAPTIN>', 'Unknown task "<CAPTIN>". Did you mean "caption"?'],
    ['odd', 'Unknown task "odd". Did you mean "od"?'],
    ['detailed-captions', 'Unknown task "detailed-captions". Did you mean "detailed-caption"?'],
    ['ocr_with_regions', 'Unknown task "ocr_with_regions". Did you mean "ocr-with-region"?'],
    ['regionocr', 'Unknown task "regionocr". Did you mean "region-ocr"?'],
  ];
  for (const [name, message] of cases) {
    assert.throws(
      () => resolveTask(name),
      (e: unknown) => e instanceof UsageError && e.message === message,
      name,
    );
  }
  for (const name of ['', 'weather', 'What is the total?']) {
    assert.is(suggestTask(name), undefined, name);
    assert.throws(() => resolveTask(name), /^Unknown task .* The tasks are: ocr, /);
  }
});

test.run();
