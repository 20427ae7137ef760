import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Plan } from '../../src/training/plan.ts';

const drawsOf = (plan: Plan, from = 0) =>
  Array.from({ length: plan.totalSteps - from }, (_, i) => plan.step(from + i).draws);

test('an epoch contains each example once; its last step may have fewer images', () => {
  const plan = new Plan([{ length: 5, weight: 1 }], 0, 2, 3);
  assert.is(plan.totalSteps, 9);
  for (const epoch of [0, 1, 2]) {
    const steps = [0, 1, 2].map(step => plan.step(3 * epoch + step));
    assert.equal([...new Set(steps.map(step => step.epoch))], [epoch]);
    assert.equal(
      steps.map(({ draws }) => draws.length),
      [2, 2, 1],
    );
    const seen = steps.flatMap(({ draws }) => draws.map(({ index }) => index));
    assert.equal(seen.sort(), [0, 1, 2, 3, 4], `epoch ${epoch}`);
  }
});

test('the examples of a step do not depend on earlier calls', () => {
  const parts = [
    { length: 7, weight: 1 },
    { length: 10, weight: 0.3 },
  ];
  const [whole, later] = [new Plan(parts, 4, 3, 4), new Plan(parts, 4, 3, 4)];
  const all = drawsOf(whole);
  assert.equal(drawsOf(later, 5), all.slice(5));
  assert.not.equal(drawsOf(new Plan(parts, 5, 3, 4)), all, 'a different seed');
});

test('an epoch ends with its last step, or with the run', () => {
  const plan = new Plan([{ length: 4, weight: 1 }], 0, 2, 3, 5);
  const ends = [0, 1, 2, 3, 4].filter(step => plan.endsEpoch(step));
  assert.equal(ends, [1, 3, 4]);
  assert.equal(
    [1, 2, 3, 5].map(steps => plan.epochsAt(steps)),
    [0.5, 1, 1.5, 2.5],
  );
});

test('a small weight gives epochs of different lengths, some without steps', () => {
  const plan = new Plan([{ length: 2, weight: 0.2 }], 0, 1, 10);
  assert.is(plan.totalSteps, 4);
  const epochs = [0, 1, 2, 3].map(step => plan.step(step).epoch);
  assert.equal(epochs, [1, 3, 6, 8]);
});

test('refused on construction: invalid weights', () => {
  for (const weight of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => new Plan([{ length: 3, weight }], 0, 1, 1), /The weight of dataset 0 is/);
  }
});

test.run();
