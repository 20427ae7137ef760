import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { classesOf, oversample } from '../../src/datasets/classes.ts';
import { collectDataset } from '../../src/datasets/collect.ts';
import type { Target } from '../../src/datasets/example.ts';
import { UsageError } from '../../src/errors.ts';

const box = [0, 0, 10, 10] as const;
const polygons = [[0, 0, 10, 0, 10, 10]];
const cases: [target: Target, classes: string[]][] = [
  [{ task: '<OD>', answer: { boxes: [{ label: 'car', box: [...box] }, { label: 'bus', box: [...box] }] } }, ['car', 'bus']], // biome-ignore format: one line
  [{ task: '<OD>', answer: 'car<loc_1><loc_2><loc_30><loc_40>red bus<loc_1><loc_2><loc_30><loc_40>' }, ['car', 'red bus']], // biome-ignore format: one line
  [{ task: '<OD>', answer: { boxes: [] } }, []],
  [{ task: '<REGION_TO_CATEGORY>', box: [...box], answer: { text: 'car' } }, ['car']],
  [{ task: '<REFERRING_EXPRESSION_SEGMENTATION>', text: 'car', answer: { instances: [{ label: '', polygons }] } }, ['car']], // biome-ignore format: one line
  [{ task: '<REFERRING_EXPRESSION_SEGMENTATION>', text: 'car', answer: { instances: [] } }, []],
  [{ task: '<REGION_PROPOSAL>', answer: { boxes: [{ label: '', box: [...box] }] } }, []],
  [{ task: '<CAPTION>', answer: { text: 'a car' } }, []],
];
for (const [target, classes] of cases) {
  test(`the classes of ${JSON.stringify(target)}`, () => assert.equal([...classesOf(target)], classes));
}

// 16 images: all have a car, one also a bus. With a threshold of 0.25 the bus counts √(16 · 0.25) = 2, the car 1.
const images = Array.from({ length: 16 }, (_, i) => ({
  image: `${i}.png`,
  task: '<OD>',
  answer: { boxes: ['car', ...(i === 5 ? ['bus'] : [])].map(label => ({ label, box: [...box] as [number, number, number, number] })) }, // biome-ignore format: one line
}));
const counts = async (threshold: number, seed = 0): Promise<number[]> => {
  const repeated = await oversample(await collectDataset('images', images), threshold, seed);
  const names = await Promise.all(Array.from({ length: repeated.length }, async (_, i) => (await repeated.example(i)).image)); // biome-ignore format: one line
  return images.map(({ image }) => names.filter(name => name === image).length);
};

test('an image is repeated as its rarest class demands', async () => {
  assert.equal(
    await counts(0.25),
    images.map((_, i) => (i === 5 ? 2 : 1)),
  );
  assert.equal(
    await counts(1 / 16),
    images.map(() => 1),
  ); // no class is rarer
});

test('fractions are rounded at random, by the seed', async () => {
  // √(16 · 0.4) = 2.53 times
  const rare = await Promise.all(Array.from({ length: 40 }, async (_, seed) => (await counts(0.4, seed))[5]));
  assert.equal([...new Set(rare)].sort(), [2, 3]);
  const mean = rare.reduce((sum, count) => sum + count, 0) / rare.length;
  assert.ok(Math.abs(mean - Math.sqrt(6.4)) < 0.25, `mean ${mean}`);
  assert.equal(await counts(0.4, 7), await counts(0.4, 7));
});

test('a threshold outside 0 to 1 is refused', async () => {
  for (const threshold of [0, 1, Number.NaN]) {
    const error = await counts(threshold).catch(error => error);
    assert.instance(error, UsageError);
    assert.match(error.message, /^threshold must be a number above 0 and below 1, not /);
  }
});

test.run();
