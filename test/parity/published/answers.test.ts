import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error, UsageError } from '../../../src/errors.ts';
import { PUBLISHED } from '../../../src/parity/published/answers.ts';
import { parsePublished } from '../../../src/parity/published/cases.ts';
import { casesOf } from '../../../src/parity/published/verify.ts';
import { referenceJson } from '../../reference.ts';

const answers = parsePublished(PUBLISHED, 'published');

test('the copy in the package equals the reference', () => {
  assert.equal(JSON.parse(JSON.stringify(PUBLISHED)), referenceJson('published.json'));
});

test('notes set the allowed differences', () => {
  const lenient = answers.cases.filter(({ bins, ignoreCase }) => bins > 0 || ignoreCase);
  assert.equal(
    lenient.map(({ model, task, bins, ignoreCase }) => [model.split('-').at(-1), task, bins, ignoreCase]),
    [
      ['base', '<OD>', 1, false],
      ['large', '<OPEN_VOCABULARY_DETECTION>', 0, true],
    ],
  );
});

for (const [name, count] of [
  ['microsoft/Florence-2-base', 4],
  ['florence-community/Florence-2-large', 4],
  ['./downloads/florence-2-large/', 4],
  ['C:\\models\\Florence-2-base', 4],
] as const) {
  test(`${name} has ${count} published answers`, () => {
    assert.is(casesOf(answers, name).length, count);
  });
}

test('a model without published answers is a usage error', () => {
  for (const name of ['microsoft/Florence-2-base-ft', '.', '']) {
    assert.throws(() => casesOf(answers, name), (error: unknown) => error instanceof UsageError && /--as/.test(error.message)); // biome-ignore format: one line
  }
});

const images = { car: { url: 'http://localhost/car.jpg', size: [640, 480] } };
const good = { model: 'm', image: 'car', task: '<OD>', labels: ['car'], bboxes: [[1, 2, 3, 4]] };
for (const [what, json, problem] of [
  ['a list', [], /expected "images"/],
  ['no cases', { images }, /expected "images"/],
  ['an image without a size', { images: { car: { url: 'x' } }, cases: [] }, /images\.car/],
  [
    'an unknown image',
    { images, cases: [{ ...good, image: 'dog' }] },
    /cases\[0\]\.image is "dog", expected one of car/,
  ],
  ['an unknown task', { images, cases: [{ ...good, task: 'od' }] }, /cases\[0\]\.task is "od"/],
  ['no model', { images, cases: [{ ...good, model: undefined }] }, /cases\[0\]\.model is missing/],
  [
    'more labels than boxes',
    { images, cases: [good, { ...good, labels: ['a', 'b'] }] },
    /cases\[1\] must have as many labels as bboxes/,
  ],
  ['boxes of three', { images, cases: [{ ...good, bboxes: [[1, 2, 3]] }] }, /cases\[0\]\.bboxes/],
  ['no answer', { images, cases: [{ model: 'm', image: 'car', task: '<OD>' }] }, /cases\[0\] has no answer/],
] as [string, unknown, RegExp][]) {
  test(`answers with ${what} are refused`, () => {
    assert.throws(
      () => parsePublished(json, 'cases.json'),
      (error: unknown) =>
        error instanceof Florence2Error && /^cases\.json/.test(error.message) && problem.test(error.message),
    );
  });
}

test.run();
