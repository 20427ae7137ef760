import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { brief, linearTicks, logTicks } from '../../../src/training/log/chart.ts';

for (const [low, high, about, expected] of [
  [0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]],
  [0, 6.2, 5, [0, 2, 4, 6]],
  [0, 3000, 8, [0, 500, 1000, 1500, 2000, 2500, 3000]],
  [0, 2.12e-4, 5, [0, 5e-5, 1e-4, 1.5e-4, 2e-4]],
  [0, 1, 8, [0, 0.2, 0.4, 0.6, 0.8, 1]],
  [3, 7, 4, [3, 4, 5, 6, 7]],
] as [number, number, number, number[]][]) {
  test(`ticks from ${low} to ${high}`, () => assert.equal(linearTicks(low, high, about), expected));
}

for (const [low, high, expected] of [
  [0.3, 7, [0.5, 1, 2, 5]],
  [0.1, 10, [0.1, 0.2, 0.5, 1, 2, 5, 10]],
  [1e-5, 3, [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1]],
] as [number, number, number[]][]) {
  test(`ticks of a logarithmic axis from ${low} to ${high}`, () => assert.equal(logTicks(low, high, 9), expected));
}

for (const [value, text] of [
  [0, '0'],
  [0.25, '0.25'],
  [0.123456, '0.123'],
  [5, '5'],
  [999, '999'],
  [1500, '1.5k'],
  [40000, '40k'],
  [2e-4, '2e-4'],
  [1.5e-5, '1.5e-5'],
  [5.264e-9, '5.26e-9'],
  [0.001, '0.001'],
] as [number, string][]) {
  test(`${value} is written ${text}`, () => assert.is(brief(value), text));
}

test.run();
