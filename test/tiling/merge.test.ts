import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { BoxCoordinates } from '../../src/geometry/types.ts';
import { boxIos, mergeSightings, type Sighting } from '../../src/tiling/merge.ts';

const { merges } = JSON.parse(readFileSync(new URL('sahi_cases.json', import.meta.url), 'utf8'));

const seen = (box: BoxCoordinates, view: number, rank = 0.5, name = 'car'): Sighting => ({
  box,
  class: name,
  rank,
  view,
});

test("boxes that are each in a view of their own are merged as SAHI's", () => {
  let merged = 0;
  for (const { boxes, classes, scores, nmm, nms } of merges) {
    const sightings = boxes.map((box: BoxCoordinates, i: number) => seen(box, i, scores[i], String(classes[i])));
    const objects = mergeSightings(sightings).map(({ box, members: [kept, ...others] }) => [kept, others.sort((a, b) => a - b), box]); // biome-ignore format: one line
    assert.equal(objects.sort((a, b) => Number(a[0]) - Number(b[0])), nmm); // biome-ignore format: one line
    const kept = mergeSightings(sightings, { merge: 'nms' });
    assert.equal(kept.map(({ members }) => members[0]).sort((a, b) => a - b), nms); // biome-ignore format: one line
    for (const { box, members } of kept) assert.equal(box, boxes[members[0]]);
    merged += boxes.length - nmm.length;
  }
  assert.ok(merged > 40, `${merged} boxes were merged`);
});

test('an object that two tiles cut has one box; nms keeps the best part', () => {
  const parts = [seen([0, 0, 60, 20], 0, 0.4), seen([40, 0, 70, 20], 1, 0.6), seen([40, 50, 60, 60], 1)];
  assert.equal(mergeSightings(parts), [
    { box: [0, 0, 70, 20], members: [1, 0] },
    { box: [40, 50, 60, 60], members: [2] },
  ]);
  assert.equal(mergeSightings(parts, { merge: 'nms' })[0], { box: [40, 0, 70, 20], members: [1, 0] });
  assert.is(mergeSightings(parts, { threshold: 0.7 }).length, 3); // intersection 400 of 600
});

test('two objects that each view shows stay two, although they overlap', () => {
  const [a, b]: BoxCoordinates[] = [[0, 0, 20, 20], [8, 0, 28, 20]]; // biome-ignore format: one line
  const pairs = [seen(a, 0, 0.9), seen(b, 0, 0.6), seen(b, 1, 0.8), seen(a, 1, 0.7)];
  assert.equal(mergeSightings(pairs).map(({ members }) => members), [[0, 3], [2, 1]].map(m => m)); // biome-ignore format: one line
});

test('objects of different classes are not merged', () => {
  const box: BoxCoordinates = [0, 0, 10, 10];
  assert.is(mergeSightings([seen(box, 0), seen(box, 1, 0.5, 'bus')]).length, 2);
});

test('intersection over the smaller area', () => {
  assert.is(boxIos([0, 0, 10, 10], [5, 5, 10, 10]), 1);
  assert.is(boxIos([0, 0, 10, 10], [5, 0, 25, 10]), 0.5);
  assert.is(boxIos([0, 0, 10, 10], [10, 0, 20, 10]), 0);
  assert.is(boxIos([0, 0, 10, 10], [5, 5, 5, 9]), 0);
});

test.run();
