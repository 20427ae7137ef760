import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { randomStream } from '../../../src/random.ts';
import { type Point, smooth, thin } from '../../../src/training/log/chart.ts';

const points = (...ys: number[]): Point[] => ys.map((y, i) => [i + 1, y]);

test('the mean of the points around each; at the ends of those that there are', () => {
  assert.equal(smooth(points(3, 0, 6, 9, 0), 3), points(1.5, 3, 5, 5, 4.5));
  assert.equal(smooth(points(3, 0, 6), 1), points(3, 0, 6));
  assert.equal(smooth([], 5), []);
});

test('a line stays where it is', () => {
  const line = points(...Array.from({ length: 50 }, (_, i) => i));
  smooth(line, 9)
    .slice(4, -4)
    .forEach(([x, y], i) => {
      assert.ok(Math.abs(y - (i + 4)) < 1e-9, `${x}: ${y}`);
    });
});

test('few points are all kept', () => assert.equal(thin(points(1, 2, 3), 3), points(1, 2, 3)));

test('of many points the extremes of each stretch are kept, in order', () => {
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
