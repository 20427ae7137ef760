import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { collectDataset, type ImageTarget } from '../../src/datasets/collect.ts';
import type { Dataset, SourcedTarget } from '../../src/datasets/example.ts';
import { withNegatives } from '../../src/datasets/negatives.ts';
import { checkTarget } from '../../src/datasets/targets.ts';
import { UsageError } from '../../src/errors.ts';

const CLASSES = ['car', 'bus', 'bike'];
const asked = (image: string, text: string): ImageTarget => {
  return { image, task: '<OPEN_VOCABULARY_DETECTION>', text, answer: { boxes: [{ label: text, box: [0, 0, 9, 9] }] } };
};
const outlined = (image: string, text: string): ImageTarget => {
  const instances = [{ label: '', polygons: [[0, 0, 9, 0, 9, 9]] }];
  return { image, task: '<REFERRING_EXPRESSION_SEGMENTATION>', text, answer: { instances } };
};
const rows = Array.from({ length: 300 }, (_, i) => asked(`${i}.png`, CLASSES[i % 3]));
const targetsOf = async (dataset: Dataset): Promise<SourcedTarget[][]> =>
  Promise.all(Array.from({ length: dataset.length }, async (_, i) => (await dataset.example(i)).targets));

test('a share of the questions has one about a class that the image does not have', async () => {
  const dataset = await collectDataset('street', rows);
  const targets = await targetsOf(await withNegatives(dataset, 0.2));
  assert.is(targets.length, 300);
  let negatives = 0;
  for (const [i, [positive, ...added]] of targets.entries()) {
    assert.is(positive.text, CLASSES[i % 3]);
    for (const target of added) {
      negatives++;
      assert.not(target.text === positive.text);
      assert.ok(CLASSES.includes(target.text!));
      assert.equal(target.answer, { boxes: [] });
      checkTarget(target);
    }
  }
  assert.ok(negatives > 40 && negatives < 80, `${negatives} of 300, expected about 60`);
  assert.equal(await targetsOf(await withNegatives(dataset, 0.2)), targets, 'the same in each epoch');
  assert.not.equal(await targetsOf(await withNegatives(dataset, 0.2, 1)), targets, 'another seed');
});

test('images that are not asked about get a question too, each task its own', async () => {
  const mixed = [...rows.slice(0, 3), outlined('9.png', 'tram'), { image: 'empty.png', task: '<OD>', answer: { boxes: [] } }]; // biome-ignore format: one line
  const targets = await targetsOf(await withNegatives(await collectDataset('street', mixed), 1));
  const added = targets.map(list => list.filter(({ answer }) => Object.values(answer).every(({ length }) => length === 0))); // biome-ignore format: one line
  assert.equal(targets.map(({ length }) => length), [3, 3, 3, 3, 3]); // biome-ignore format: one line
  for (const target of added.flat()) checkTarget(target);
  assert.equal(targets[4].slice(1).map(({ task }) => task), ['<OPEN_VOCABULARY_DETECTION>', '<REFERRING_EXPRESSION_SEGMENTATION>']); // biome-ignore format: one line
});

test('an image with all classes gets none', async () => {
  const all = CLASSES.map(name => asked('all.png', name));
  assert.is((await targetsOf(await withNegatives(await collectDataset('street', all), 1)))[0].length, 3);
});

test('datasets that ask for no classes, or for one, are refused', async () => {
  const cases: [ImageTarget[], RegExp][] = [
    [[{ image: 'a.png', task: '<CAPTION>', answer: { text: 'a car' } }], /^street can have no negatives: no class is asked for by its name\. They need the task open-vocabulary-detection/], // biome-ignore format: one line
    [[asked('a.png', 'car')], /only car is asked for/],
  ];
  for (const [targets, message] of cases) {
    const error = await withNegatives(await collectDataset('street', targets), 0.2).catch(error => error);
    assert.instance(error, UsageError);
    assert.match(error.message, message);
  }
});

test.run();
