import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BOXES, type ClassBox, DetectionMetric, MASKS, mean, type TrueObject } from '../../src/evaluation/detection.ts';
import { decodeRle, decompressCounts } from '../../src/geometry/rle.ts';
import { referenceJson, referenceRoot } from '../reference.ts';

type Row = [label: string, x1: number, y1: number, x2: number, y2: number, score?: number];

interface Case {
  name: string;
  images: { truth: Row[]; found: Row[] }[];
  expected: { mAP: number | null; mAP50: number | null; mAP75: number | null; AP: Record<string, number> };
}

/** Written by tools/coco_cases.py with pycocotools. */
const cases: Case[] = readFileSync(new URL('coco_cases.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map(line => JSON.parse(line));

const boxOf = ([label, x1, y1, x2, y2, score]: Row): ClassBox => ({ label, box: [x1, y1, x2, y2], score });

function judge(images: Case['images']): DetectionMetric {
  const metric = new DetectionMetric(BOXES);
  for (const { truth, found } of images) metric.add(truth.map(boxOf), found.map(boxOf));
  return metric;
}

const near = (actual: number, expected: number, what: string) =>
  assert.ok(Math.abs(actual - expected) <= 1e-12, `${what}: ${actual}, pycocotools ${expected}`);

test('the file has all cases', () => assert.is(cases.length, 14));

for (const { name, images, expected } of cases) {
  test(`equal to pycocotools: ${name}`, () => {
    const metric = judge(images);
    const metrics = metric.metrics();
    for (const key of ['mAP', 'mAP50', 'mAP75'] as const) {
      if (expected[key] === null) assert.not.ok(key in metrics, `${key} is ${metrics[key]}, pycocotools has none`);
      else near(metrics[key], expected[key], key);
    }
    const classes = metric.perClass();
    assert.equal(
      classes.map(({ label }) => label),
      Object.keys(expected.AP),
    );
    for (const { label, precisions } of classes) near(mean(precisions), expected.AP[label], label);
  });
}

test('a missing score counts as 1', () => {
  const { images } = cases.find(({ name }) => name === 'no scores: all 1')!;
  const unscored = images.map(({ truth, found }) => ({ truth, found: found.map(row => row.slice(0, 5) as Row) }));
  assert.equal(judge(unscored).metrics(), judge(images).metrics());
});

test('boxes of different classes do not match', () => {
  const { images } = cases.find(({ name }) => name === 'the right boxes under the wrong class')!;
  const one = (rows: Row[]) => rows.map(([, ...rest]): Row => ['', ...rest]);
  const blind = images.map(({ truth, found }) => ({ truth: one(truth), found: one(found) }));
  assert.is(judge(images).metrics().mAP, 0);
  near(judge(blind).metrics().mAP, 1, 'without classes the case is perfect');
});

/** COCO's objects, with `rle` where polygons are masks. */
interface CocoObject {
  image_id: number;
  category_id: number;
  bbox: [number, number, number, number];
  segmentation?: Rle;
  rle?: Rle;
  area?: number;
  iscrowd?: number;
  score?: number;
}

interface Rle {
  size: [number, number];
  counts: string | number[];
}

interface CocoRun {
  max_dets: [number, number, number];
  use_cats: boolean;
  stats: number[];
  per_class: { category_id: number; ap_by_iou: number[]; ap_by_area: number[]; recall_by_iou: number[] }[];
}

const maskOf = ({ rle, segmentation }: CocoObject) => {
  const { size, counts } = rle ?? segmentation!;
  return decodeRle({ size, counts: typeof counts === 'string' ? decompressCounts(counts) : counts });
};

const corners = ([x, y, width, height]: CocoObject['bbox']) => [x, y, x + width, y + height];

/** In the order of pycocotools' `stats`. */
const STATS = [
  ...['mAP', 'mAP50', 'mAP75', 'mAPSmall', 'mAPMedium', 'mAPLarge'],
  ...['AR', 'AR', 'AR', 'ARSmall', 'ARMedium', 'ARLarge'],
];

const folder = join(referenceRoot, 'evaluation/detection');
const names = existsSync(folder) ? readdirSync(folder).sort() : [];
if (names.length === 0) console.log(`Skipped the sets of COCO: ${folder} does not exist.`);

for (const name of names) {
  const { iou_type, evaluations, ground_truth, detections } = referenceJson(`evaluation/detection/${name}`);
  const masks = iou_type === 'segm';
  const images: number[] = ground_truth.images
    .map(({ id }: { id: number }) => id)
    .sort((a: number, b: number) => a - b);
  for (const run of evaluations as CocoRun[]) {
    test(`COCO's numbers equal pycocotools': ${name}, ${run.max_dets}, classes ${run.use_cats}`, () => {
      const object = (row: CocoObject) => ({
        label: run.use_cats ? String(row.category_id) : '-1',
        box: masks ? [] : corners(row.bbox),
        ...(masks ? { mask: maskOf(row) } : { mask: { width: 0, height: 0, data: new Uint8Array() } }),
        area: row.area,
        crowd: row.iscrowd === 1,
        score: row.score,
      });
      type Row = ReturnType<typeof object>;
      const boxes = new DetectionMetric(BOXES, run.max_dets);
      const outlines = new DetectionMetric(MASKS, run.max_dets);
      const metric: { add(truth: (Row & TrueObject)[], found: Row[]): void } = masks ? outlines : boxes;
      const of = (rows: CocoObject[], id: number) => rows.filter(row => row.image_id === id).map(object);
      for (const id of images) metric.add(of(ground_truth.annotations, id), of(detections, id));
      const { metrics, perClass } = masks
        ? { metrics: outlines.metrics(), perClass: outlines.perClass() }
        : { metrics: boxes.metrics(), perClass: boxes.perClass() };
      const keys = STATS.map((key, i) => (key === 'AR' ? `AR${run.max_dets[i - 6]}` : key));
      for (const [i, key] of keys.entries()) near9(metrics[key] ?? -1, run.stats[i], `${key}`);
      for (const expected of run.per_class) {
        const row = perClass.find(({ label }) => label === String(expected.category_id));
        const list = (values: (number | undefined)[] | undefined, known: number[], what: string) => {
          for (const [i, value] of known.entries()) near9(values?.[i] ?? -1, value, `${expected.category_id} ${what}`);
        };
        list(row?.precisions, expected.ap_by_iou, 'precision');
        list(row?.bySize, expected.ap_by_area, 'size');
        list(row?.recalls, expected.recall_by_iou, 'recall');
      }
    });
  }
}

function near9(actual: number, expected: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= 1e-9, `${what}: ${actual}, pycocotools ${expected}`);
}

test.run();
