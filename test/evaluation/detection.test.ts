import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ClassBox, DetectionMetric } from '../../src/evaluation/detection.ts';

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
  const metric = new DetectionMetric();
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
    assert.equal(Object.keys(classes), Object.keys(expected.AP).map(label => `AP/${label}`)); // biome-ignore format: one line
    for (const [label, value] of Object.entries(expected.AP)) near(classes[`AP/${label}`], value, label);
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

test.run();
