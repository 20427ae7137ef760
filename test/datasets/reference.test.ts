/** Reads the datasets of the reference, which the tools themselves wrote, and compares with what a right reader gets. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { AnnotatedImage } from '../../src/datasets/annotation.ts';
import { datasetSplits, openAnnotations, openDataset } from '../../src/datasets/open.ts';
import type { DatasetProblem } from '../../src/datasets/reading.ts';
import { compressCounts } from '../../src/geometry/rle.ts';
import { referenceRoot, wholeReference } from '../reference.ts';

const root = join(referenceRoot, 'datasets');
if (!existsSync(root)) console.log(`Skipped: ${root} does not exist. Set FLORENCE2_REFERENCE to the whole reference.`);

const names = existsSync(root) ? readdirSync(join(root, 'expected')).filter(name => name !== 'wrong.json') : [];

for (const name of names) {
  const expected = JSON.parse(readFileSync(join(root, 'expected', name), 'utf8'));
  const folder = join(root, expected.folder);
  if (!wholeReference && !existsSync(folder)) {
    console.log(`Skipped: ${expected.folder} is only in the whole reference. Set FLORENCE2_REFERENCE to it.`);
    continue;
  }
  const path = join(folder, expected.open);
  const isSplit = expected.images.some((image: { split?: string }) => image.split !== undefined);
  const format = expected.task === 'obb' ? ('yolo-obb' as const) : undefined;

  test(`${name}: every image, object, caption and line of text`, async () => {
    const read: AnnotatedImage[] = [];
    const splits = isSplit ? await datasetSplits(path) : [undefined];
    for (const split of splits) {
      const set = await openAnnotations(path, { ...(split && { split }), ...(format && { format }) });
      for (let i = 0; i < set.length; i++) read.push(await set.image(i));
      if (expected.classes && set.labels) assert.equal(set.labels, expected.classes);
    }
    const places = read.map(({ image }) => relative(folder, image as string));
    const wanted: typeof expected.images = expected.images.filter(
      (image: { split?: string }) => name !== 'yolo-several-folders.json' || image.split !== undefined,
    );
    assert.equal([...new Set(places)].sort(), wanted.map(({ file }: { file: string }) => file).sort());
    for (const image of wanted) {
      const found = read[places.indexOf(image.file)];
      assert.equal(found.size, { width: image.width, height: image.height }, image.file);
      if (image.objects) compareObjects(found, image.objects, expected.tolerance, image.file);
      if (image.captions) assert.equal(found.captions, image.captions, image.file);
      assert.equal(
        found.texts.map(({ text }) => text),
        (image.texts ?? []).map(({ text }: { text: string }) => text),
        image.file,
      );
      for (const [i, { quad }] of (image.texts ?? []).entries()) near(found.texts[i].quad, quad, 0.01, image.file);
      if (image.rows) {
        const rows = found.targets.map(({ task, text, answer }) => ({
          prefix: `${task}${text ?? ''}`,
          suffix: answer,
        }));
        assert.equal(rows, image.rows, image.file);
      }
    }
  });

  test(`${name}: opens as a dataset to train on`, async () => {
    const problems: DatasetProblem[] = [];
    const dataset = await openDataset(path, { onProblem: problem => problems.push(problem) });
    assert.equal(
      problems.filter(({ severity }) => severity === 'error'),
      [],
    );
    assert.ok(dataset.length > 0);
    const example = await dataset.example(0);
    assert.ok(example.targets.length > 0);
  });
}

interface ExpectedObject {
  label: string;
  box: number[];
  polygons?: number[][];
  quad?: number[];
  mask?: { size: number[]; counts: string };
  crowd?: boolean;
  score?: number;
}

function compareObjects(
  { objects }: AnnotatedImage,
  expected: ExpectedObject[],
  tolerance: number,
  file: string,
): void {
  assert.equal(
    objects.map(({ label }) => label),
    expected.map(({ label }) => label),
    file,
  );
  for (const [i, { box, polygons, quad, mask, crowd, score }] of expected.entries()) {
    const at = `${file}, object ${i}`;
    near(objects[i].box, box, tolerance, at);
    assert.is(objects[i].polygons?.length, polygons?.length, at);
    for (const [k, polygon] of (polygons ?? []).entries()) near(objects[i].polygons![k], polygon, tolerance, at);
    assert.is(objects[i].quad === undefined, quad === undefined, at);
    if (quad) near(objects[i].quad!, quad, tolerance, at);
    const found = objects[i].mask;
    assert.equal(found && { size: found.size, counts: compressCounts(found.counts) }, mask, at);
    assert.is(objects[i].crowd, crowd, at);
    assert.is(objects[i].score, score, at);
  }
}

function near(found: readonly number[], expected: readonly number[], tolerance: number, at: string): void {
  assert.is(found.length, expected.length, at);
  const far = found.findIndex((value, i) => !(Math.abs(value - expected[i]) <= tolerance + 1e-6));
  assert.is(far, -1, `${at}: ${found} is not ${expected}`);
}

test.run();
