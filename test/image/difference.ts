/** Returns '' if the values are equal to a tolerance, else how many differ and where they differ most. */
export function describeDifference(ours: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 0): string {
  if (ours.length !== expected.length) return `${ours.length} values, expected ${expected.length}`;
  let count = 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(ours[i]! - expected[i]!);
    if (!(difference <= tolerance)) count++;
    if (!(difference <= Math.abs(ours[worst]! - expected[worst]!))) worst = i;
  }
  return count === 0
    ? ''
    : `${count} of ${expected.length} differ, most at ${worst}: ${ours[worst]}, expected ${expected[worst]}`;
}
