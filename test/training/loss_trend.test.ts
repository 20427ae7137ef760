import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';
import { LossTrend, type TrendState } from '../../src/training/loss_trend.ts';

/** Adds `count` steps of a loss after the steps so far. */
function run(parts: [count: number, loss: number][], state?: TrendState): LossTrend {
  const trend = new LossTrend(state);
  let step = 0;
  for (const [count, loss] of parts) for (let i = 0; i < count; i++) trend.add(++step, loss);
  return trend;
}

const cases: [what: string, parts: [number, number][], throwsAt?: number][] = [
  ['a falling loss', [[20, 5], [100, 0.1]]], // biome-ignore format: a line
  [
    'a single bad step',
    [
      [20, 5],
      [100, 0.1],
      [1, 20],
      [30, 0.1],
    ],
  ],
  [
    'a rise below the start',
    [
      [20, 5],
      [100, 0.1],
      [40, 4],
    ],
  ],
  [
    'a rise above the start that is less than tenfold',
    [
      [20, 1],
      [100, 0.5],
      [40, 2],
    ],
  ],
  // Sixteen steps of 6 and four of 0.5 have a mean of 4.9, seventeen and three of 5.2, above 10 × 0.5 and above the start.
  [
    'a rise above the start, more than tenfold',
    [
      [20, 2],
      [100, 0.5],
      [40, 6],
    ],
    137,
  ],
  [
    'few steps',
    [
      [5, 0.001],
      [10, 50],
    ],
  ],
];
for (const [what, parts, throwsAt] of cases) {
  test(`${what} ${throwsAt ? 'is an error' : 'is accepted'}`, () => {
    if (!throwsAt) return void run(parts);
    assert.throws(
      () => run(parts),
      (error: Error) =>
        error instanceof Florence2Error &&
        error.message.startsWith(
          `Step ${throwsAt}: the loss diverges. Its mean over 20 steps is 5.17; it was 0.500 at best and 2.00`,
        ),
    );
  });
}

test('a resumed run is compared with what was before', () => {
  const { saved } = run([
    [20, 2],
    [100, 0.5],
  ]);
  assert.equal(saved, { first: 2, best: 0.5, window: new Array(20).fill(0.5) });
  assert.throws(() => run([[20, 6]], saved), /the loss diverges/);
  run([[20, 6]]);
});

test('a run that is resumed at each step diverges where an uninterrupted one does', () => {
  const losses = [...new Array(20).fill(2), ...new Array(100).fill(0.5), ...new Array(40).fill(6)];
  let saved: TrendState | undefined;
  assert.throws(() => {
    for (const [i, loss] of losses.entries()) {
      const trend = new LossTrend(JSON.parse(JSON.stringify(saved ?? { first: null, best: null })));
      trend.add(i + 1, loss);
      saved = trend.saved;
    }
  }, /^Step 137: the loss diverges/);
});

test.run();
