import * as assert from 'uvu/assert';

/** Asserts that every number differs from the expected one by at most `limit` times the largest expected number. */
export function near(got: ArrayLike<number>, expected: ArrayLike<number>, limit: number, what: string): void {
  assert.is(got.length, expected.length, `${what}: ${got.length} numbers, expected ${expected.length}`);
  let [scale, worst, at] = [0, 0, 0];
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]));
    const off = Math.abs(got[i] - expected[i]);
    if (!(off <= worst)) [worst, at] = [Number.isNaN(off) ? Infinity : off, i];
  }
  const text = `${what}: number ${at} is ${got[at]}, expected ${expected[at]}`;
  assert.ok(scale > 0, `${what}: all expected numbers are zero`);
  assert.ok(worst <= limit * scale, text);
}
