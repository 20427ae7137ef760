import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { learningRateAt, type ScheduleName } from '../../src/training/optimizer.ts';

// transformers 5.23: get_constant_schedule_with_warmup(opt, 3), get_linear_schedule_with_warmup(opt, 3, 10) and
// get_cosine_schedule_with_warmup(opt, 3, 10) at a rate of 0.5, get_last_lr() before each of ten steps.
const rates: Record<ScheduleName, number[]> = {
  constant: [0, 0.16666666666666666, 0.3333333333333333, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
  linear: [
    ...[0, 0.16666666666666666, 0.3333333333333333, 0.5, 0.42857142857142855, 0.35714285714285715],
    ...[0.2857142857142857, 0.21428571428571427, 0.14285714285714285, 0.07142857142857142],
  ],
  cosine: [
    ...[0, 0.16666666666666666, 0.3333333333333333, 0.5, 0.47524221697560476, 0.4058724504646834],
    ...[0.3056302334890786, 0.19436976651092142, 0.09412754953531663, 0.02475778302439524],
  ],
};

for (const [schedule, expected] of Object.entries(rates) as [ScheduleName, number[]][]) {
  test(`${schedule}: transformers' rates`, () => {
    const options = { schedule, learningRate: 0.5, warmupSteps: 3, totalSteps: 10 };
    expected.forEach((rate, step) => {
      const got = learningRateAt(step, options);
      assert.ok(Math.abs(got - rate) < 1e-12, `step ${step}: ${got}, expected ${rate}`);
    });
  });
}

test('without warm-up a run begins at the full rate', () => {
  for (const schedule of ['constant', 'linear', 'cosine'] as const) {
    assert.is(learningRateAt(0, { schedule, learningRate: 0.5, warmupSteps: 0, totalSteps: 1 }), 0.5, schedule);
  }
});

test.run();
