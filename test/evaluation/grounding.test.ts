import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type LocatedPhrase,
  phraseRecall,
  type ReferredBox,
  referringBoxes,
  referringMasks,
} from '../../src/evaluation/grounding.ts';
import { decodeRle, decompressCounts } from '../../src/geometry/rle.ts';
import { hasReference, referenceJson } from '../reference.ts';

const path = 'evaluation/grounding.json';
const near = (found: number, expected: number, what: string) =>
  assert.ok(Math.abs(found - expected) <= 1e-12, `${what}: ${found}, not ${expected}`);

interface Rle {
  size: [number, number];
  counts: string;
}
const maskOf = ({ size, counts }: Rle) => decodeRle({ size, counts: decompressCounts(counts) });

interface Located extends LocatedPhrase {
  types: string[];
}

if (hasReference(path)) {
  const { refcoco_boxes, refcoco_masks, flickr30k } = referenceJson(path);

  test('boxes of expressions: accuracy at 0.5 and mean IoU', () => {
    assert.ok(refcoco_boxes.length > 0);
    for (const { rows, accuracy, mean_iou } of refcoco_boxes) {
      const found = referringBoxes(rows);
      near(found.accuracy, accuracy['0.5'], 'accuracy');
      for (const [t, share] of Object.entries(accuracy as Record<string, number>))
        near(referringBoxes(rows, Number(t)).accuracy, share, `accuracy at ${t}`);
      near(found.meanIoU, mean_iou, 'mean IoU');
      for (const row of rows as (ReferredBox & { iou: number })[]) near(referringBoxes([row]).meanIoU, row.iou, 'IoU');
    }
  });

  test('masks of expressions: mIoU and cIoU', () => {
    assert.ok(refcoco_masks.length > 0);
    for (const { rows, mean_iou, cumulative_iou, precision } of refcoco_masks) {
      const masks = rows.map((row: { truth_rle: Rle; found_rle: Rle }) => ({
        truth: maskOf(row.truth_rle),
        found: maskOf(row.found_rle),
      }));
      const found = referringMasks(masks);
      near(found.meanIoU, mean_iou, 'mIoU');
      near(found.cumulativeIoU, cumulative_iou, 'cIoU');
      for (const [t, share] of Object.entries(precision as Record<string, number>))
        near(referringMasks(masks, Number(t)).precision, share, `precision at ${t}`);
    }
  });

  test('phrases: recall at 1, 5, 10 and all, of each type, under both protocols', () => {
    assert.ok(flickr30k.length > 0);
    for (const { rows, any_box, merged_boxes } of flickr30k) {
      const phrases: Located[] = rows.flatMap((row: { phrases: Located[] }) => row.phrases);
      for (const [protocol, expected] of [
        ['any-box', any_box],
        ['merged-boxes', merged_boxes],
      ] as const) {
        for (const [type, recalls] of Object.entries(expected as Record<string, Record<string, number>>)) {
          const of = type === 'all' ? phrases : phrases.filter(({ types }) => types.includes(type));
          for (const [k, recall] of Object.entries(recalls)) {
            near(phraseRecall(of, k === 'all' ? Infinity : Number(k), protocol), recall, `${protocol} ${type} ${k}`);
          }
        }
      }
    }
  });
} else console.log(`Skipped boxes and masks of expressions: ${path} does not exist.`);

test('by hand: an IoU of exactly 0.5 is right, and no answer is a miss', () => {
  const found = referringBoxes([
    { truth: [0, 0, 2, 1], found: [0, 0, 1, 1] },
    { truth: [0, 0, 2, 1], found: null },
  ]);
  assert.equal(found, { accuracy: 0.5, meanIoU: 0.25 });
});

test('by hand: large masks dominate the cumulative IoU; two empty ones count in the mean alone', () => {
  const mask = (...data: number[]) => ({ width: 4, height: 1, data: Uint8Array.from(data) });
  const found = referringMasks([
    { truth: mask(1, 1, 1, 1), found: mask(1, 1, 1, 0) },
    { truth: mask(1, 0, 0, 0), found: mask(0, 1, 0, 0) },
    { truth: mask(0, 0, 0, 0), found: mask(0, 0, 0, 0) },
  ]);
  near(found.meanIoU, (0.75 + 0 + 1) / 3, 'mIoU');
  near(found.cumulativeIoU, 3 / 6, 'cIoU');
});

test('by hand: a phrase with two true boxes is found by one of them, or by the box around both', () => {
  const phrase = (box: number[]) => [{ truth: [[0, 0, 1, 1], [9, 0, 10, 1]], found: [{ box }] }]; // biome-ignore format: one line
  assert.is(phraseRecall(phrase([0, 0, 1, 1]), 1, 'any-box'), 1);
  assert.is(phraseRecall(phrase([0, 0, 1, 1]), 1, 'merged-boxes'), 0);
  assert.is(phraseRecall(phrase([0, 0, 10, 1]), 1, 'any-box'), 0);
  assert.is(phraseRecall(phrase([0, 0, 10, 1]), 1, 'merged-boxes'), 1);
});

test.run();
