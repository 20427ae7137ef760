import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pairBoxes } from '../../src/evaluation/pairs.ts';

const boxes = (...list: number[][]) => list.map(box => ({ box }));

const cases: [what: string, truth: number[][], found: number[][], pairs: [index: number | undefined, iou: number][]][] = [
  ['identical boxes are paired', [[0, 0, 4, 4], [8, 8, 12, 12]], [[8, 8, 12, 12], [0, 0, 4, 4]], [[1, 1], [0, 1]]],
  // The first truth overlaps both found boxes, but the second fits the first found box better.
  ['the highest IoU is paired first', [[0, 0, 10, 10], [2, 0, 10, 10]], [[2, 0, 10, 10], [0, 0, 5, 10]], [[1, 0.5], [0, 1]]],
  ['each box is paired once', [[0, 0, 4, 4], [0, 0, 4, 4]], [[0, 0, 4, 4]], [[0, 1], [undefined, 0]]],
  ['boxes without overlap are not paired', [[0, 0, 4, 4]], [[4, 0, 8, 4]], [[undefined, 0]]],
  ['nothing found', [[0, 0, 4, 4]], [], [[undefined, 0]]],
  ['nothing true', [], [[0, 0, 4, 4]], []],
]; // biome-ignore format: as a table

for (const [what, truth, found, expected] of cases) {
  test(what, () => {
    const [a, b] = [boxes(...truth), boxes(...found)];
    const pairs = pairBoxes(a, b);
    assert.equal(
      pairs.map(({ found, iou }) => [found && b.indexOf(found), iou]),
      expected,
    );
    pairs.forEach((pair, i) => {
      assert.is(pair.truth, a[i]);
    });
  });
}

test.run();
