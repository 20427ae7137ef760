import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { collectDataset, type ImageTarget } from '../../src/datasets/collect.ts';
import type { DatasetProblem } from '../../src/datasets/reading.ts';
import type { RawImage } from '../../src/image/types.ts';

const raw = (): RawImage => ({ data: new Uint8Array(12), width: 2, height: 2 });
const boxes = [{ label: 'dog', box: [0, 0, 1, 1] }];

test('any iterable is accepted, and images are grouped by path, URL and object', async () => {
  const [a, b] = [raw(), raw()];
  const rows: ImageTarget[] = [
    { image: 'a.png', task: '<OD>', answer: { boxes } },
    { image: a, task: '<CAPTION>', answer: { text: 'A dog.' } },
    { image: 'a.png', task: '<REGION_TO_CATEGORY>', box: [0, 0, 1, 1], answer: { text: 'dog' } },
    { image: b, task: '<CAPTION>', answer: 'A cat.' },
    { image: a, task: '<REFERRING_EXPRESSION_SEGMENTATION>', text: 'dog', answer: { instances: [] } },
    { image: new URL('http://example.com/a.png'), task: '<OCR>', answer: { text: '' } },
    { image: new URL('http://example.com/a.png'), task: '<OD>', answer: { boxes: [] } },
  ];
  async function* later(): AsyncGenerator<ImageTarget> {
    yield* rows;
  }
  for (const given of [rows, new Set(rows), later()]) {
    const dataset = await collectDataset('mine', given);
    assert.is(dataset.length, 4);
    const examples = await Promise.all([0, 1, 2, 3].map(i => dataset.example(i)));
    assert.equal(
      examples.map(({ targets }) => targets.length),
      [2, 2, 1, 2],
    );
    assert.is(examples[1].image, a);
    assert.equal(examples[1].imageSize, { width: 2, height: 2 });
    assert.is(examples[0].imageSize, undefined);
    assert.is(examples[2].source, 'mine[3]');
    assert.equal(examples[0].targets[1], {
      task: '<REGION_TO_CATEGORY>',
      box: [0, 0, 1, 1],
      answer: { text: 'dog' },
      source: 'mine[2]',
    });
  }
});

test('errors name the row and the field', async () => {
  const rows: ImageTarget[] = [
    { image: 'a.png', task: '<OD>', answer: { boxes } },
    { image: 'a.png', task: '<OD>', answer: { boxes: [...boxes, { label: '', box: [0, 0, 1, 1] }] } },
  ];
  const problems: DatasetProblem[] = [];
  const dataset = await collectDataset('mine', rows, { onProblem: problem => problems.push(problem) });
  assert.is((await dataset.example(0)).targets.length, 1);
  const message = 'answer.boxes[1].label is empty, expected words.';
  assert.equal(problems, [{ severity: 'error', source: 'mine[1]', message }]);
  let thrown = '';
  await collectDataset('mine', rows).catch(error => {
    thrown = error.message;
  });
  assert.is(thrown, `mine[1]: ${message}`);
});

test.run();
