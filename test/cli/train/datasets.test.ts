import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { allSplits, openData, readWeightedPath } from '../../../src/cli/train/datasets.ts';
import { UsageError } from '../../../src/errors.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
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

/** Writes a training split of images that all differ, with a target of open-vocabulary detection each. */
function writeDifferent(count: number): string {
  const folder = writeDataset({ train: count });
  const lines = Array.from({ length: count }, (_, i) => {
    appendFileSync(join(folder, 'train', `${i}.jpg`), String(i));
    const label = i % 10 === 0 ? 'rare' : 'common';
    return JSON.stringify({ image: `${i}.jpg`, prefix: `<OPEN_VOCABULARY_DETECTION>${label}`, suffix: `${label}<loc_1><loc_2><loc_30><loc_40>` }); // biome-ignore format: one line
  });
  writeFileSync(join(folder, 'train', 'annotations.jsonl'), `${lines.join('\n')}\n`);
  return folder;
}
const different = writeDifferent(60);

test('--image-root allows images outside the dataset', async () => {
  const images = writeDataset({ train: 2 });
  const data = temporaryFolder();
  const line = { image: join(images, 'train/0.jpg'), prefix: '<CAPTION>', suffix: 'a red circle' };
  writeFileSync(join(data, 'annotations.jsonl'), JSON.stringify(line));
  const { problems } = await openData({ data: [data] });
  assert.match(problems[0].message, /lies outside the dataset's folder/);
  const { train } = await openData({ data: [data], imageRoot: images });
  assert.is((await train[0].dataset.example(0)).image, line.image);
});

test('--holdout takes validation data from the datasets without a valid split', async () => {
  const { train, valid } = await openData({ data: [different, both, `${different}:0.5`], holdout: 0.25 });
  const [a, b, again] = train.map(({ dataset }) => dataset);
  assert.is(b.length, 3);
  assert.equal(again, a);
  assert.equal(valid.map(({ length }) => length), [2, 60 - a.length]); // biome-ignore format: one line
  assert.ok(a.length < 60 && a.length > 30, String(a.length));
});

test('--oversample repeats images of rare classes, --negatives adds questions', async () => {
  const [{ dataset: repeated }] = (await openData({ data: [different], oversample: 0.4 })).train;
  assert.is(repeated.length, 66); // 6 of 60 are rare: √(0.4 / 0.1) = 2 times each
  const [{ dataset: asked }] = (await openData({ data: [different], negatives: 1 })).train;
  const { targets } = await asked.example(0);
  assert.equal(targets.map(({ text }) => text), ['rare', 'common']); // biome-ignore format: one line
});

test('datasets that --oversample and --negatives cannot change stay, with a warning', async () => {
  for (const option of [{ oversample: 0.4 }, { negatives: 1 }]) {
    const { train, problems } = await openData({ data: [different, both], ...option });
    assert.is(train[1].dataset.length, 3);
    const warnings = problems.filter(({ severity }) => severity === 'warning');
    assert.equal(warnings.map(({ source }) => source), [train[1].dataset.name]); // biome-ignore format: one line
    assert.match(warnings[0].message, /names no classes|can have no negatives/);
  }
});

for (const [what, config, message] of [
  ['--oversample of captions', { data: [both], oversample: 0.2 }, /names no classes, so none is rare\.$/],
  ['--holdout with --valid', { data: [different], valid: both, holdout: 0.2 }, /remove it, or --valid\.$/],
  ['--holdout where all datasets have a valid split', { data: [both], holdout: 0.2 }, /all of these have one\.$/],
  ['--holdout of copies of one image', { data: [writeDataset({ train: 4 })], holdout: 0.5 }, /leaves no (training|validation) data of /], // biome-ignore format: one line
  ['--negatives of captions', { data: [both], negatives: 0.2 }, /can have no negatives/],
] as [string, Parameters<typeof openData>[0], RegExp][]) {
  test(`${what} is refused`, async () => {
    const error = await openData(config).catch(error => error);
    assert.instance(error, UsageError);
    assert.match(error.message, message);
  });
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
