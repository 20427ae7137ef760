import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { quadIntersection, quadIou } from '../../src/geometry/quads.ts';
import { hasReference, referenceJson } from '../reference.ts';

const square = [0, 0, 2, 0, 2, 2, 0, 2];
/** A square with the corner (2, 2) pushed in to (0.5, 0.5): an area of 1. */
const dart = [0, 0, 2, 0, 0.5, 0.5, 0, 2];

/** Areas counted by hand. */
const cases: [what: string, a: number[], b: number[], area: number][] = [
  ['itself', square, square, 4],
  ['a shifted one', square, [1, 1, 3, 1, 3, 3, 1, 3], 1],
  ['the other way round', square, [1, 1, 1, 3, 3, 3, 3, 1], 1],
  ['one beside it', square, [2, 0, 4, 0, 4, 2, 2, 2], 0],
  ['a diamond inside', square, [1, 0, 2, 1, 1, 2, 0, 1], 2],
  ['one with a corner pushed in', square, dart, 1],
  ['what the pushed corner leaves free', dart, [1, 1, 2, 1, 2, 2, 1, 2], 0],
  ['the same from another corner', [2, 0, 0.5, 0.5, 0, 2, 0, 0], dart, 1],
];

for (const [what, a, b, area] of cases) {
  test(`a quad and ${what} share ${area}`, () => {
    assert.ok(Math.abs(quadIntersection(a, b) - area) < 1e-12, `${quadIntersection(a, b)}`);
    assert.ok(Math.abs(quadIntersection(b, a) - area) < 1e-12, `${quadIntersection(b, a)}`);
  });
}

const path = 'evaluation/ocr.json';
if (hasReference(path)) {
  test("IoUs equal shapely's", () => {
    type Quads = { quad: number[] }[];
    const { sets } = referenceJson(path) as { sets: { images: { truth: Quads; found: Quads; iou: number[][] }[] }[] };
    for (const { truth, found, iou } of sets.flatMap(({ images }) => images)) {
      for (const [t, row] of iou.entries()) {
        for (const [f, expected] of row.entries()) {
          const value = quadIou(truth[t].quad, found[f].quad);
          assert.ok(
            Math.abs(value - expected) <= 1e-9,
            `${truth[t].quad} and ${found[f].quad}: ${value}, not ${expected}`,
          );
        }
      }
    }
  });
} else console.log(`Skipped the quads of shapely: ${path} does not exist.`);

test.run();
