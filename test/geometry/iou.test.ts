import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { boxIou, maskIou } from '../../src/geometry/iou.ts';
import { polygonsToMask } from '../../src/geometry/masks.ts';
import type { BoxCoordinates } from '../../src/geometry/types.ts';
import { referenceJson } from '../reference.ts';

const file = referenceJson('processor/masks.json');

const near = (actual: number, expected: number, what: string) =>
  assert.ok(Math.abs(actual - expected) <= 1e-9, `${what}: ${actual}, not ${expected}`);

test('IoU of masks, pairwise', () => {
  const caseOf = new Map(file.cases.map((c: { id: string }) => [c.id, c]));
  for (const { image_size, ids, iou, iou_crowd } of file.mask_iou) {
    const masks = ids.map((id: string) => {
      const c = caseOf.get(id) as { polygons: number[][]; min_points: number; clip_to_image: boolean };
      const image = { width: image_size[0], height: image_size[1] };
      return polygonsToMask(c.polygons, image, { minPoints: c.min_points, clipToImage: c.clip_to_image });
    });
    for (const [i, a] of masks.entries()) {
      for (const [j, b] of masks.entries()) {
        near(maskIou(a, b), iou[i][j], `${ids[i]} and ${ids[j]}`);
        near(maskIou(a, b, { crowd: true }), iou_crowd[i][j], `${ids[i]} in ${ids[j]}`);
      }
    }
  }
});

test('IoU of boxes, pairwise', () => {
  const { format, boxes, iou, iou_crowd } = file.box_iou;
  assert.is(format, 'x,y,width,height');
  const corners = boxes.map(([x, y, w, h]: number[]): BoxCoordinates => [x, y, x + w, y + h]);
  for (const [i, a] of corners.entries()) {
    for (const [j, b] of corners.entries()) {
      near(boxIou(a, b), iou[i][j], `boxes ${i} and ${j}`);
      near(boxIou(a, b, { crowd: true }), iou_crowd[i][j], `box ${i} in ${j}`);
      near(boxIou([a[2], a[3], a[0], a[1]], b), iou[i][j], `boxes ${i} with swapped corners and ${j}`);
    }
  }
});

test('masks of different sizes are refused', () => {
  const a = polygonsToMask([], { width: 2, height: 3 });
  const b = polygonsToMask([], { width: 3, height: 2 });
  assert.throws(
    () => maskIou(a, b),
    (e: unknown) => e instanceof UsageError && /^Masks of 2x3 and 3x2 pixels cannot be compared\.$/.test(e.message),
  );
});

test.run();
