import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { randomStream } from '../../../src/random.ts';
import { brief, linearTicks, logTicks, type Point, smooth, thin } from '../../../src/training/log/chart.ts';

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
  test(`logarithmic ticks from ${low} to ${high}`, () => assert.equal(logTicks(low, high, 9), expected));
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
  test(`${value} is formatted as ${text}`, () => assert.is(brief(value), text));
}

const points = (...ys: number[]): Point[] => ys.map((y, i) => [i + 1, y]);

test('smooth returns the mean of the points around each, fewer at the ends', () => {
  assert.equal(smooth(points(3, 0, 6, 9, 0), 3), points(1.5, 3, 5, 5, 4.5));
  assert.equal(smooth(points(3, 0, 6), 1), points(3, 0, 6));
  assert.equal(smooth([], 5), []);
});

test('smoothing does not shift a straight line', () => {
  const line = points(...Array.from({ length: 50 }, (_, i) => i));
  smooth(line, 9)
    .slice(4, -4)
    .forEach(([x, y], i) => {
      assert.ok(Math.abs(y - (i + 4)) < 1e-9, `${x}: ${y}`);
    });
});

test('thin keeps all points up to the limit', () => assert.equal(thin(points(1, 2, 3), 3), points(1, 2, 3)));

test('thin keeps the extremes of each section, in order', () => {
  assert.equal(thin(points(5, 1, 9, 2, 8, 7, 0, 3), 4), [[2, 1], [3, 9], [5, 8], [7, 0]]); // biome-ignore format: one line
  const random = randomStream(0, 'thin');
  const many = Array.from({ length: 10_007 }, (_, i): Point => [i, random()]);
  const few = thin(many, 500);
  assert.is(few.length, 500);
  assert.ok(
    few.every(([x], i) => i === 0 || few[i - 1][0] <= x),
    'in order',
  );
  assert.ok(
    few.every(point => many.includes(point)),
    'points of the curve',
  );
  const extreme = (list: Point[]) => [Math.min(...list.map(p => p[1])), Math.max(...list.map(p => p[1]))];
  assert.equal(extreme(few), extreme(many));
});

test.run();
