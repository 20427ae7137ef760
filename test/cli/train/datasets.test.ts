import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { allSplits, openData, readWeightedPath } from '../../../src/cli/train/datasets.ts';
import { UsageError } from '../../../src/errors.ts';
import { writeDataset } from './dataset.ts';

for (const [text, path, weight] of [
  ['data', 'data', 1],
  ['data:0.2', 'data', 0.2],
  ['data:2', 'data', 2],
  ['data:.5', 'data', 0.5],
  ['C:\\data', 'C:\\data', 1],
  ['C:\\data:0.25', 'C:\\data', 0.25],
  ['a:b', 'a:b', 1],
] as [string, string, number][]) {
  test(`${text} is ${path} with the weight ${weight}`, () => assert.equal(readWeightedPath(text), { path, weight }));
}

test('a weight of 0 is refused', () => {
  assert.throws(
    () => readWeightedPath('data:0'),
    (error: unknown) =>
      error instanceof UsageError && /^--data data:0: the weight must be larger than 0/.test(error.message),
  );
});

const both = writeDataset({ train: 3, valid: 2 });
const alone = writeDataset({ train: 1 });
const other = writeDataset({ valid: 1 });

/** Returns the numbers of examples for training and validation. */
async function sizes(config: Parameters<typeof openData>[0]): Promise<object> {
  const { train, valid } = await openData(config);
  return {
    train: train.map(({ dataset, weight }) => [dataset.length, weight]),
    valid: valid.map(({ length }) => length),
  };
}

for (const [what, config, expected] of [
  ['the valid split of the dataset', { data: [both] }, { train: [[3, 1]], valid: [2] }],
  [
    'the valid splits of all datasets',
    { data: [`${both}:0.5`, alone, both] },
    {
      train: [
        [3, 0.5],
        [1, 1],
        [3, 1],
      ],
      valid: [2], // a dataset that is named twice counts once
    },
  ],
  ['none without a valid split', { data: [alone] }, { train: [[1, 1]], valid: [] }],
  ['the valid split of --valid', { data: [both], valid: other }, { train: [[3, 1]], valid: [1] }],
  ['all of --valid if it has no splits', { data: [both], valid: `${alone}/train` }, { train: [[3, 1]], valid: [1] }],
  ['those of one task', { data: [both], task: ['caption'] }, { train: [[3, 1]], valid: [2] }],
] as [string, object, object][]) {
  // biome-ignore format: as a table
  test(`validation data: ${what}`, async () => assert.equal(await sizes(config), expected));
}

test('all splits of all datasets are listed; a folder without a dataset is an error', async () => {
  const splits = await allSplits({ data: [both, `${both}:2`], valid: other });
  assert.equal(splits, [
    { path: both, split: 'train' },
    { path: both, split: 'valid' },
    { path: other, split: 'valid' },
  ]);
  const empty = writeDataset({});
  const message = await allSplits({ data: [both, empty] }).catch((error: Error) => error.message);
  assert.match(String(message), `${empty} has no dataset: looked for annotations.jsonl`);
});

test.run();
