/** What the files of people and of attackers do. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { datasetSplits, openAnnotations, openDataset } from '../../src/datasets/open.ts';
import type { DatasetProblem } from '../../src/datasets/reading.ts';
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

test.run();
