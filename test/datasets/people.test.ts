/** What the files of people and of attackers do. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { datasetSplits, openAnnotations, openDataset } from '../../src/datasets/open.ts';
import type { DatasetProblem } from '../../src/datasets/reading.ts';
import { compressCounts } from '../../src/geometry/rle.ts';
import { bmp, inFolder } from './folder.ts';

const image = bmp(20, 10);
const run = { size: [10, 20], counts: [0, 10, 190] };
const coco = (file_name: string, more: object = {}) => ({
  images: [{ id: 1, file_name, width: 20, height: 10 }],
  categories: [{ id: 1, name: 'dog' }],
  annotations: [{ id: 1, image_id: 1, category_id: 1, bbox: [1, 2, 3, 4], ...more }],
});

for (const name of [
  'img\\a.bmp',
  '.\\img\\a.bmp',
  '/home/me/set/img/a.bmp',
  'C:\\Users\\me\\img\\a.bmp',
  '../up/img/a.bmp',
]) {
  test(`the image ${name} is found in the dataset`, async () => {
    await inFolder({ 'img/a.bmp': image, 'result.json': coco(name) }, async folder => {
      const set = await openAnnotations(folder);
      assert.is((await set.image(0)).image, join(folder, 'img/a.bmp'));
    });
  });
}

test('masks that are all marked as crowds are objects, unless an option says otherwise', async () => {
  const file = coco('a.bmp', { iscrowd: 1, segmentation: run });
  await inFolder({ 'a.bmp': image, 'annotations.json': file }, async folder => {
    const problems: DatasetProblem[] = [];
    const onProblem = (problem: DatasetProblem): void => void problems.push(problem);
    const objects = async (crowds?: boolean) =>
      (await (await openAnnotations(folder, { onProblem, ...(crowds !== undefined && { crowds }) })).image(0)).objects;
    assert.equal((await objects())[0].crowd, undefined);
    assert.match(problems[0].message, /^1 annotations are marked as crowds/);
    assert.is((await objects(true))[0].crowd, true);
    assert.equal((await objects(false))[0].crowd, undefined);
    assert.equal((await (await openDataset(folder, { crowds: true })).example(0)).targets[0].answer, { boxes: [] });
  });
});

test('other names of files, questions with answers, and empty splits', async () => {
  const files = {
    'vqa/_annotations.jsonl': JSON.stringify({ image: 'a.bmp', question: 'What is it?', answer: 'A dog.' }),
    'vqa/a.bmp': image,
    'yml/data.yml': 'names: [dog]\ntrain: ../train/images\nval: ../valid/images\ntest: ../test/images\n',
    'yml/train/images/a.bmp': image,
    'yml/train/labels/a.txt': '0 0.5 0.5 0.5 0.5 0.75\n',
    'coco/annotations/instances_train2017.json': coco('a.bmp'),
    'coco/annotations/captions_train2017.json': { images: [], annotations: [] },
    'coco/train2017/a.bmp': image,
    'coco/valid/nothing.txt': '',
    'two/one.json': coco('a.bmp'),
    'two/other.json': coco('a.bmp'),
  };
  await inFolder(files, async folder => {
    const open = async (name: string) => (await openAnnotations(join(folder, name))).image(0);
    const { targets } = await open('vqa');
    assert.equal(
      targets.map(({ task, answer }) => [task, answer]),
      [['What is it?', 'A dog.']],
    );
    assert.is((await open('yml')).objects[0].score, 0.75);
    assert.equal((await open('coco')).objects[0].box, [1, 2, 4, 6]);
    assert.equal(await datasetSplits(join(folder, 'yml')), ['train']);
    assert.equal(await datasetSplits(join(folder, 'coco')), ['train']);
    await rejects(open('two'), /two has several files of annotations: one\.json, other\.json\. Name one of them\./);
  });
});

test('paths may not leave the dataset', async () => {
  const line = (name: string): string => JSON.stringify({ image: name, prefix: '<OD>', suffix: '' });
  await inFolder({ 'secret.bmp': image, 'set/a.bmp': image, 'near/b.bmp': image }, async folder => {
    for (const name of [
      '../secret.bmp',
      join(folder, 'secret.bmp'),
      `file://${folder}/secret.bmp`,
      '../set/../secret.bmp',
    ]) {
      await inFolder({ 'x/annotations.jsonl': line(name) }, async other => {
        await rejects(openAnnotations(join(other, 'x')), /lies outside the dataset's folder/);
        if (name.startsWith('..')) return;
        const set = await openAnnotations(join(other, 'x'), { imageRoot: folder });
        assert.is((await set.image(0)).image, join(folder, 'secret.bmp'));
      });
    }
  });
});

test('XML that would grow, or has too many levels, is refused with its line', async () => {
  const bomb = `<!DOCTYPE a [<!ENTITY b "${'x'.repeat(99)}"><!ENTITY c "&b;&b;">]>\n<annotations><image name="&c;"/></annotations>`;
  const deep = `<annotations>${'<a>\n'.repeat(100)}`;
  await inFolder({ 'bomb.xml': bomb, 'deep.xml': deep, 'cut.xml': '<annotations>\n<image' }, async folder => {
    await rejects(openAnnotations(join(folder, 'bomb.xml')), /bomb\.xml:2: The file is not XML: undefined entity/);
    await rejects(
      openAnnotations(join(folder, 'deep.xml')),
      /deep\.xml:\d+: More than 64 elements are inside one another/,
    );
    await rejects(openAnnotations(join(folder, 'cut.xml')), /cut\.xml:2: The file is not XML/);
  });
});

test('masks with more pixels than allowed are refused before they are decoded', async () => {
  const huge = coco('a.bmp', { segmentation: { size: [100_000, 100_000], counts: [10 ** 10] } });
  huge.images[0] = { id: 1, file_name: 'a.bmp' } as (typeof huge.images)[number];
  await inFolder({ 'a.bmp': image, 'x.json': huge }, async folder => {
    await rejects(openAnnotations(join(folder, 'x.json')), /larger than the limit of 268435456 pixels/);
  });
});

async function rejects(promise: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  assert.match(error?.message ?? 'no error', message);
}

// Written by Datumaro 1.13.12 (voc_segmentation) for two dogs and a cat of 20x10 pixels.
const png = (text: string): Uint8Array => Buffer.from(text, 'base64');
const classPng = png('iVBORw0KGgoAAAANSUhEUgAAABQAAAAKCAIAAAA7N+mxAAAAPklEQVQoFaXBMRLAMAzDMOrnfHqnXCpvOQNhISyEQyZBipRwyCRIkRIOmQQpUsKPFEGKlLAQ5JInQS55EhY+rbEKC6fw8QIAAAAASUVORK5CYII='); // biome-ignore format: one line
const objectPng = png('iVBORw0KGgoAAAANSUhEUgAAABQAAAAKCAIAAAA7N+mxAAAAQElEQVQoFaXBsQ3AIBAAMf/mN3qqREAXYY8L48J45RSyyWq8cgrZZDVeOYVsshqLbEI2WY0LUz7llymf8su48ADMwAwLB36PCQAAAABJRU5ErkJggg=='); // biome-ignore format: one line
const labelmap = '# label:color_rgb:parts:actions\nbackground:::\ndog:::\ncat:::\n';
const masked = {
  ...{ 'labelmap.txt': labelmap, 'ImageSets/Segmentation/train.txt': 'a\n', 'JPEGImages/a.bmp': bmp(20, 10) },
  ...{ 'SegmentationClass/a.png': classPng, 'SegmentationObject/a.png': objectPng },
};
// pycocotools 2.0.11 of the same masks
const MASKS = ['P1371O0000000\\3', 'V3460000000`1', '72800000i4'];

test('masks of Pascal VOC: objects with the labels of their classes', () =>
  inFolder(masked, async folder => {
    assert.equal(await datasetSplits(folder), ['train']);
    const { objects } = await (await openAnnotations(folder)).image(0);
    assert.equal(objects.map(({ label, mask }) => [label, compressCounts(mask!.counts)]), [['dog', MASKS[0]], ['dog', MASKS[1]], ['cat', MASKS[2]]]); // biome-ignore format: one line
    assert.equal(objects[0].box, [3, 2, 9, 6]);
  }));

test('masks of Pascal VOC belong to the objects of the XML file, whose boxes stay', () => {
  const object = (name: string, box: number[]): string =>
    `<object><name>${name}</name><bndbox>${['xmin', 'ymin', 'xmax', 'ymax'].map((side, i) => `<${side}>${box[i]}.0</${side}>`).join('')}</bndbox></object>`; // biome-ignore format: one line
  const text = `<annotation><filename>a.bmp</filename>${object('dog', [10, 2, 15, 7])}${object('cow', [3, 2, 9, 6])}</annotation>`;
  return inFolder({ ...masked, 'Annotations/a.xml': text }, async folder => {
    const { objects } = await (await openAnnotations(folder)).image(0);
    const found = objects.map(({ label, box, mask }) => [label, box, mask && compressCounts(mask.counts)]);
    assert.equal(found, [
      ['dog', [10, 2, 15, 7], MASKS[1]],
      ['cow', [3, 2, 9, 6], undefined],
      ['dog', [3, 2, 9, 6], MASKS[0]],
      ['cat', [0, 7, 4, 9], MASKS[2]],
    ]);
  });
});

test('without SegmentationObject each class of an image is one object; colours without a label are errors', () => {
  const { 'SegmentationObject/a.png': _, ...files } = masked;
  return inFolder(files, async folder => {
    const problems: DatasetProblem[] = [];
    const { objects } = await (await openAnnotations(folder, { onProblem: problem => problems.push(problem) })).image(
      0,
    );
    assert.equal(objects.map(({ label, box }) => [label, box]), [['dog', [3, 2, 15, 6]], ['cat', [0, 7, 4, 9]]]); // biome-ignore format: one line
    assert.match(problems[0].message, /^1 images have classes of pixels, but no SegmentationObject/);
    writeFileSync(join(folder, 'labelmap.txt'), 'background:0,0,0::\ndog:128,0,0::\n');
    const error = await openAnnotations(folder).catch(thrown => thrown as Error);
    assert.match((error as Error).message, /SegmentationClass.a\.png: The colour 0,128,0 is not that of a label/);
  });
});

test('a split that the lists of Pascal VOC do not have is an error', () =>
  inFolder(masked, async folder => {
    const error = await openAnnotations(folder, { split: 'valid' }).catch(thrown => thrown as Error);
    assert.match((error as Error).message, /has no valid split: looked for ImageSets\/Main\/val\.txt/);
  }));

// The picture is numpy's, written by Pillow as labelme 6.3.1 does it; the run lengths are pycocotools'.
const labelmeMask = { label: 'dog', shape_type: 'mask', points: [[5, 2], [10, 5]], mask: 'iVBORw0KGgoAAAANSUhEUgAAAAYAAAAECAAAAACIbxGfAAAAGElEQVR4nE3BsQEAAAjDIOL/R3cVBBKcbwB7AAZOi10XAAAAAElFTkSuQmCC' }; // biome-ignore format: one line
const labelme = (shape: object) => ({
  'a.json': { version: '6.3.1', shapes: [shape], imagePath: 'a.bmp', imageHeight: 10, imageWidth: 20 },
  'a.bmp': bmp(20, 10),
});

test('masks of LabelMe', () =>
  inFolder(labelme(labelmeMask), async folder => {
    const [object] = (await (await openAnnotations(folder)).image(0)).objects;
    assert.equal([object.label, object.box, compressCounts(object.mask!.counts)], ['dog', [5, 2, 11, 5], 'd11:1N0000000g2']); // biome-ignore format: one line
  }));

const wrongMasks: [shape: object, message: RegExp][] = [
  [{ ...labelmeMask, mask: 'AAAA' }, /shapes\[0\]: The mask cannot be decoded/],
  [{ ...labelmeMask, mask: null }, /shapes\[0\]: mask is null, expected a picture/],
  [{ ...labelmeMask, points: [[16, 2], [21, 5]] }, /does not fit the image/], // biome-ignore format: one line
];

for (const [shape, message] of wrongMasks) {
  test(`a wrong mask of LabelMe: ${message}`, () =>
    inFolder(labelme(shape), async folder => {
      const error = await openAnnotations(folder).catch(thrown => thrown as Error);
      assert.match((error as Error).message, message);
    }));
}

test('a folder with files of CVAT in several subfolders says what to name', () =>
  inFolder(
    { 'a/annotations.xml': '<annotations></annotations>', 'a/images/a.bmp': bmp(2, 2), 'b/x.bmp': bmp(2, 2) },
    async folder => {
      const error = await openAnnotations(folder).catch(thrown => thrown as Error);
      const file = join(folder, 'a', 'annotations.xml');
      assert.is((error as Error).message, `${file}: It is a file of CVAT: name it instead of its folder.`);
    },
  ));

test.run();
