import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type ExifOrientation,
  orderedBox,
  storedPoints,
  turnedSize,
  uprightBox,
  uprightPoints,
} from '../../src/geometry/orientation.ts';

/** Where the top left and the bottom right corner of a box of an upright image of 30 x 20 pixels are stored. */
const CASES: Record<ExifOrientation, number[]> = {
  1: [2, 3, 10, 8],
  2: [28, 3, 20, 8],
  3: [28, 17, 20, 12],
  4: [2, 17, 10, 12],
  5: [3, 2, 8, 10],
  6: [3, 28, 8, 20],
  7: [17, 28, 12, 20],
  8: [17, 2, 12, 10],
};
const upright = { width: 30, height: 20 };

test("points by EXIF's eight orientations, and back", () => {
  for (const [key, stored] of Object.entries(CASES)) {
    const orientation = Number(key) as ExifOrientation;
    assert.equal(storedPoints(CASES[1], upright, orientation), stored, `orientation ${key}`);
    assert.equal(uprightPoints(stored, upright, orientation), CASES[1], `orientation ${key}, back`);
    const size = orientation > 4 ? { width: 20, height: 30 } : upright;
    assert.equal(turnedSize(upright, orientation), size);
  }
});

test('the corners of a turned box are put in order', () => {
  assert.equal(orderedBox(CASES[7]), [12, 20, 17, 28]);
  for (const orientation of [1, 6, 7] as const) {
    assert.equal(uprightBox(orderedBox(CASES[orientation]), upright, orientation), CASES[1]);
  }
});

test.run();
