import type { Point } from './chart.ts';

/**
 * A moving average over `window` points, centred, so that the curve does not lag behind. At the ends it takes those that
 * there are.
 */
export function smooth(points: readonly Point[], window: number): Point[] {
  const sums = [0];
  for (const [, y] of points) sums.push(sums.at(-1)! + y);
  const half = Math.floor(window / 2);
  return points.map(([x], i) => {
    const [first, end] = [Math.max(0, i - half), Math.min(points.length, i + half + 1)];
    return [x, (sums[end] - sums[first]) / (end - first)];
  });
}

/**
 * At most `most` points that draw the same curve: the lowest and the highest of each stretch, in their order, so that
 * no peak is lost.
 */
export function thin(points: readonly Point[], most: number): Point[] {
  if (points.length <= most) return [...points];
  const stretches = Math.floor(most / 2);
  return Array.from({ length: stretches }, (_, i) => {
    const at = (n: number) => Math.floor((n * points.length) / stretches);
    const stretch = points.slice(at(i), at(i + 1));
    const low = stretch.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = stretch.reduce((a, b) => (b[1] > a[1] ? b : a));
    return low[0] < high[0] ? [low, high] : [high, low];
  }).flat();
}
