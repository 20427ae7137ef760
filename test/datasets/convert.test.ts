import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type AnnotatedImage, DATASET_FORMATS, type DatasetFormat } from '../../src/datasets/annotation.ts';
import { convertDataset } from '../../src/datasets/convert.ts';
import { datasetSplits, openAnnotations } from '../../src/datasets/open.ts';
import { compressCounts } from '../../src/geometry/rle.ts';
import { referenceRoot } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { bmp, inFolder } from './folder.ts';

const root = join(referenceRoot, 'datasets');
const scratch = temporaryFolder();
if (!existsSync(root)) console.log(`Skipped: ${root} does not exist. Set FLORENCE2_REFERENCE to the whole reference.`);

/** Reads all images by the names of their files without folders and extensions. */
async function readAll(path: string, format?: DatasetFormat): Promise<Map<string, AnnotatedImage>> {
  const read = new Map<string, AnnotatedImage>();
  for (const split of await datasetSplits(path)) {
    const set = await openAnnotations(path, { split, ...(format && { format }) });
    for (let i = 0; i < set.length; i++) {
      const image = await set.image(i);
      read.set(image.file.replace(/\.[^.]*$/, '').replace(/^.*[/_]/, ''), image);
    }
  }
  return read;
}

for (const to of existsSync(root) ? DATASET_FORMATS : []) {
  test(`${to}: objects written from CVAT and read again are the same, also in a turned image`, async () => {
    const out = join(scratch, to);
    const input = join(root, 'cvat/annotations/annotations.xml');
    const { lost } = await convertDataset(input, out, { to, images: 'copy' });
    const before = await readAll(input);
    const after = await readAll(out, to === 'yolo-obb' ? to : undefined);
    if (to === 'txt') return assert.is(lost.objects, 23);
    assert.equal([...after.keys()].sort(), [...before.keys()].sort());
    // A bin of JSON lines is 0.001 of the image, and its centre at most half of that away. YOLO rows are single parts.
    const tolerance = to === 'jsonl' ? 0.2 : to === 'voc' || to === 'yolo-obb' ? 0.6 : 0.02;
    let compared = 0;
    for (const [name, { objects, size, texts }] of before) {
      const found = after.get(name)!;
      assert.equal(found.size, size, name);
      const boxes = to === 'jsonl' ? await taught(out, name) : found.objects;
      if (to === 'yolo-seg' || to === 'label-studio') {
        assert.ok(boxes.length >= objects.length, name);
      } else {
        const wanted = to === 'jsonl' ? byLabel(objects) : objects;
        assert.equal(
          boxes.map(({ label }) => label),
          wanted.map(({ label }) => label),
          name,
        );
        for (const [i, { box }] of wanted.entries()) {
          const far = box.some((value, k) => Math.abs(value - boxes[i].box[k]) > tolerance);
          assert.not(far, `${name}: ${boxes[i].box} is not ${box}`);
          compared++;
        }
      }
      if (['coco', 'cvat', 'webdataset'].includes(to)) {
        assert.equal(
          found.objects.map(({ mask }) => mask && compressCounts(mask.counts)),
          objects.map(({ mask }) => mask && compressCounts(mask.counts)),
        );
      }
      if (['cvat', 'labelme', 'label-studio', 'webdataset'].includes(to)) assert.is(found.texts.length, texts.length);
    }
    assert.ok(compared > 15 || to === 'yolo-seg' || to === 'label-studio', `${compared}`);
  });
}

const byLabel = (objects: AnnotatedImage['objects']): AnnotatedImage['objects'] =>
  [...new Set(objects.map(({ label }) => label))].flatMap(label => objects.filter(object => object.label === label));

/** Reads the boxes of a dataset of JSON lines by way of another conversion. */
async function taught(folder: string, name: string): Promise<AnnotatedImage['objects']> {
  const again = join(scratch, `again-${name}`);
  await convertDataset(folder, again, { to: 'coco', images: 'copy' });
  return (await readAll(again)).get(name)!.objects;
}

const coco = {
  images: [
    { id: 1, file_name: 'a/x.bmp', width: 20, height: 10 },
    { id: 2, file_name: 'b/x.bmp', width: 20, height: 10 },
  ],
  categories: [
    { id: 3, name: 'unused' },
    { id: 7, name: 'dog' },
  ],
  annotations: [
    { id: 1, image_id: 1, category_id: 7, bbox: [1, 2, 3, 4], score: 0.5 },
    { id: 2, image_id: 2, category_id: 7, bbox: [2, 2, 6, 6], segmentation: [[2, 2, 8, 2, 8, 8]] },
  ],
};
const files = { 'in/a/x.bmp': bmp(20, 10), 'in/b/x.bmp': bmp(20, 10), 'in/x.json': coco };

test('images stay where they are, and the new file names them there', async () => {
  await inFolder(files, async folder => {
    const out = join(folder, 'out');
    const report = await convertDataset(join(folder, 'in/x.json'), out, { to: 'coco' });
    assert.equal(report, { images: { train: 2 }, lost: {} });
    assert.equal(readdirSync(out), ['annotations']);
    const json = JSON.parse(readFileSync(join(out, 'annotations/instances_train.json'), 'utf8'));
    assert.equal(json, {
      images: [
        { id: 1, file_name: '../../in/a/x.bmp', width: 20, height: 10 },
        { id: 2, file_name: '../../in/b/x.bmp', width: 20, height: 10 },
      ],
      annotations: [
        { id: 1, image_id: 1, category_id: 2, bbox: [1, 2, 3, 4], area: 12, iscrowd: 0, segmentation: [], score: 0.5 },
        {
          id: 2,
          image_id: 2,
          category_id: 2,
          bbox: [2, 2, 6, 6],
          area: 18,
          iscrowd: 0,
          segmentation: [[2, 2, 8, 2, 8, 8]],
        },
      ],
      categories: [
        { id: 1, name: 'unused' },
        { id: 2, name: 'dog' },
      ],
    });
    assert.equal(readdirSync(folder).sort(), ['in', 'out'], 'nothing else is left');
    const set = await openAnnotations(out, { imageRoot: join(folder, 'in') });
    assert.is((await set.image(1)).image, join(folder, 'in/b/x.bmp'));
    let refused = '';
    await openAnnotations(out).catch(error => {
      refused = error.message;
    });
    assert.match(refused, /lies outside the dataset's folder .*--image-root/);
  });
});

test('links, names that collide, and what is lost', async () => {
  await inFolder(files, async folder => {
    const out = join(folder, 'out');
    const report = await convertDataset(join(folder, 'in/x.json'), out, { to: 'fiftyone', images: 'link' });
    assert.equal(report.lost, { outlines: 1 });
    assert.ok(lstatSync(join(out, 'train/data/a_x.bmp')).isSymbolicLink());
    const voc = await convertDataset(join(folder, 'in/x.json'), join(folder, 'voc'), { to: 'voc', images: 'copy' });
    assert.equal(voc.lost, { scores: 1, outlines: 1 });
    assert.is(readFileSync(join(folder, 'voc/ImageSets/Main/train.txt'), 'utf8'), 'a_x\nb_x\n');
    assert.match(readFileSync(join(folder, 'voc/labelmap.txt'), 'utf8'), /\nbackground:::\nunused:::\ndog:::\n$/);
  });
});

test('a folder with files, a format that contains its images, and an invalid entry leave nothing behind', async () => {
  const broken = { ...coco, annotations: [...coco.annotations, { image_id: 1, category_id: 9, bbox: [0, 0, 1, 1] }] };
  await inFolder({ ...files, 'in/broken.json': broken, 'full/a.txt': '' }, async folder => {
    const rejects = async (input: string, output: string, to: DatasetFormat, message: RegExp): Promise<void> => {
      const error = await convertDataset(join(folder, input), join(folder, output), { to }).then(
        () => undefined,
        (thrown: Error) => thrown,
      );
      assert.match(error?.message ?? '', message);
    };
    await rejects('in/x.json', 'full', 'coco', /full exists and is not empty/);
    await rejects('in/x.json', 'out', 'yolo', /A yolo dataset contains its images: add --copy or --link/);
    await rejects('in/broken.json', 'out', 'coco', /annotations\[2\]: category_id 9 is not among the categories/);
    await rejects('none.json', 'out', 'coco', /none\.json does not exist/);
    assert.equal(readdirSync(folder).sort(), ['full', 'in']);
  });
});

test('a tar whose entries leave the dataset is not written outside', async () => {
  const folder = join(scratch, 'tar');
  mkdirSync(join(folder, 'in'), { recursive: true });
  const { pack } = await import('tar-stream');
  const tar = pack();
  tar.entry({ name: '../../evil.bmp' }, Buffer.from(bmp(2, 2)));
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  writeFileSync(join(folder, 'in/a.tar'), Buffer.concat(chunks));
  let message = '';
  await convertDataset(join(folder, 'in'), join(folder, 'out'), { to: 'coco', images: 'copy' }).catch(error => {
    message = error.message;
  });
  assert.match(message, /leaves the dataset/);
  assert.not.ok(existsSync(join(folder, 'out')));
});

test.run();
