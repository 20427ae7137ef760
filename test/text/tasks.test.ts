import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { constructPrompt, findTask, resolveTask, suggestTask, TASKS, taskInfo } from '../../src/text/tasks.ts';
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
