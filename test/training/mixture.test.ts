import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { epochOrder } from '../../src/training/mixture.ts';

test('a part of weight 1 is drawn completely in each epoch, in a different order each time', () => {
  const parts = [{ length: 50, weight: 1 }];
  const orders = [0, 1, 2].map(epoch => epochOrder(parts, 7, epoch));
  for (const order of orders) {
    assert.equal(
      order.map(({ index }) => index).sort((a, b) => a - b),
      Array.from({ length: 50 }, (_, i) => i),
    );
  }
  assert.not.equal(orders[0], orders[1]);
  assert.not.equal(orders[1], orders[2]);
  assert.equal(epochOrder(parts, 7, 2), orders[2], 'the same seed and epoch give the same order');
  assert.not.equal(epochOrder(parts, 8, 2), orders[2], 'a different seed gives a different order');
});

test('an epoch draws its share, and the counts of two examples differ by at most one', () => {
  const cases = [
    { length: 10, weight: 0.2 },
    { length: 7, weight: 0.3 },
    { length: 3, weight: 0.1 },
    { length: 5, weight: 2 },
    { length: 11, weight: 1.5 },
    { length: 4, weight: 0 },
    { length: 0, weight: 1 },
    { length: 13, weight: Math.PI },
  ];
  const counts = cases.map(({ length }) => new Array<number>(length).fill(0));
  for (let epoch = 0; epoch < 20; epoch++) {
    const order = epochOrder(cases, 3, epoch);
    for (const [part, { length, weight }] of cases.entries()) {
      const drawn = order.filter(draw => draw.part === part);
      assert.ok(Math.abs(drawn.length - length * weight) < 1, `epoch ${epoch} takes ${drawn.length} of part ${part}`);
      for (const { index } of drawn) counts[part][index]++;
      const [least, most] = [Math.min(...counts[part]), Math.max(...counts[part])];
      assert.ok(length === 0 || most - least <= 1, `part ${part} after epoch ${epoch}: ${counts[part]}`);
    }
  }
  assert.equal(counts[0], new Array(10).fill(4), '20 epochs of a fifth are four passes');
  assert.equal(counts[5], [0, 0, 0, 0]);
});

test('a weight of 0.2 draws a different fifth in each epoch', () => {
  const seen = [0, 1, 2, 3, 4].flatMap(epoch => epochOrder([{ length: 100, weight: 0.2 }], 1, epoch));
  assert.is(new Set(seen.map(({ index }) => index)).size, 100);
});

test('parts are mixed, and equal parts have different orders', () => {
  const order = epochOrder(
    [
      { length: 200, weight: 1 },
      { length: 200, weight: 1 },
    ],
    1,
    0,
  );
  const firstHalf = order.slice(0, 200).filter(({ part }) => part === 0).length;
  assert.ok(firstHalf > 60 && firstHalf < 140, `${firstHalf} of the first 200 are of the first part`);
  const indices = (part: number): number[] => order.filter(draw => draw.part === part).map(({ index }) => index);
  assert.not.equal(indices(0), indices(1));
});

test('a dataset may have a million examples', () => {
  assert.is(epochOrder([{ length: 1_000_000, weight: 1 }], 0, 0).length, 1_000_000);
});

test('refused: negative and infinite weights', () => {
  for (const weight of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => epochOrder([{ length: 3, weight }], 0, 0), /The weight of dataset 0 is .*, expected a number/);
  }
});

test.run();
