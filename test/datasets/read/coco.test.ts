import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Target } from '../../../src/datasets/example.ts';
import { openDataset } from '../../../src/datasets/open.ts';
import { readJsonItems } from '../../../src/datasets/read/json_items.ts';
import type { DatasetProblem } from '../../../src/datasets/reading.ts';
import { type Mask, maskArea } from '../../../src/geometry/masks.ts';
import { maskOutlines } from '../../../src/geometry/outlines.ts';
import { decodeRle } from '../../../src/geometry/rle.ts';
import { referenceJson } from '../../reference.ts';
import { bmp, inFolder } from '../folder.ts';

const image = bmp(20, 10);
const triangle = [1, 1, 9, 1, 9, 8];
const square = [2, 2, 6, 2, 6, 6, 2, 6];

const instances = {
  info: {},
  images: [
    { id: 7, file_name: 'a.bmp', width: 20, height: 10 },
    { id: 3, file_name: 'b.bmp', width: 20, height: 10 },
    { id: 'x', file_name: 'empty.bmp', width: 20, height: 10 },
  ],
  categories: [
    { id: 1, name: 'dog' },
    { id: 5, name: 'cat', supercategory: 'none' },
  ],
  annotations: [
    { id: 1, image_id: 7, category_id: 1, bbox: [1, 1, 8, 7], segmentation: [triangle], iscrowd: 0 },
    { id: 2, image_id: 7, category_id: 5, bbox: [2, 2, 4, 4], segmentation: [square, [1, 2, 3, 4]] },
    { id: 3, image_id: 3, category_id: 5, bbox: [0, 0, 20, 10] },
    { id: 4, image_id: 7, category_id: 1, bbox: [10, 0, 10, 10], segmentation: [] },
    {
      id: 5,
      image_id: 7,
      category_id: 1,
      bbox: [0, 0, 20, 10],
      iscrowd: 1,
      segmentation: { counts: [200], size: [10, 20] },
    },
    // columns 4 to 7 of the upper half
    {
      id: 6,
      image_id: 3,
      category_id: 1,
      bbox: [4, 0, 4, 5],
      segmentation: { size: [10, 20], counts: [40, 5, 5, 5, 5, 5, 5, 5, 125] },
    },
  ],
};
const images = { 'a.bmp': image, 'b.bmp': image, 'empty.bmp': image };

test('objects: boxes become corners, classes are grouped, images without objects have empty answers', async () => {
  await inFolder({ ...images, 'x.json': instances }, async folder => {
    const problems: DatasetProblem[] = [];
    const file = join(folder, 'x.json');
    const dataset = await openDataset(file, { onProblem: problem => problems.push(problem) });
    assert.is(dataset.length, 3);
    const { objects, ...example } = await dataset.example(0);
    assert.equal(objects?.filter(({ crowd }) => crowd).length, 1, 'for metrics');
    assert.equal(example, {
      image: join(folder, 'a.bmp'),
      imageSize: { width: 20, height: 10 },
      file: 'a.bmp',
      source: `${file}: images[0]`,
      targets: [
        {
          task: '<OD>',
          answer: {
            boxes: [
              { label: 'dog', box: [1, 1, 9, 8] },
              { label: 'dog', box: [10, 0, 20, 10] },
              { label: 'cat', box: [2, 2, 6, 6] },
            ],
          },
        },
      ],
    });
    assert.equal((await dataset.example(2)).targets, [{ task: '<OD>', answer: { boxes: [] } }]);
    assert.equal(problems, [
      {
        severity: 'warning',
        source: file,
        message: '1 crowd annotations are not learnt: they do not outline a single object.',
      },
    ]);
  });
});

test('the other tasks that objects teach', async () => {
  await inFolder({ ...images, 'x.json': instances }, async folder => {
    const targets = async (index: number, ...tasks: string[]): Promise<Target[]> =>
      (await (await openDataset(join(folder, 'x.json'), { tasks })).example(index)).targets;
    assert.equal(await targets(0, '<REGION_TO_CATEGORY>'), [
      { task: '<REGION_TO_CATEGORY>', box: [1, 1, 9, 8], answer: { text: 'dog' } },
      { task: '<REGION_TO_CATEGORY>', box: [2, 2, 6, 6], answer: { text: 'cat' } },
      { task: '<REGION_TO_CATEGORY>', box: [10, 0, 20, 10], answer: { text: 'dog' } },
    ]);
    assert.equal(await targets(0, 'ovd'), [
      {
        task: '<OPEN_VOCABULARY_DETECTION>',
        text: 'dog',
        answer: {
          boxes: [
            { label: 'dog', box: [1, 1, 9, 8] },
            { label: 'dog', box: [10, 0, 20, 10] },
          ],
        },
      },
      { task: '<OPEN_VOCABULARY_DETECTION>', text: 'cat', answer: { boxes: [{ label: 'cat', box: [2, 2, 6, 6] }] } },
    ]);
    assert.equal(await targets(2, '<OD>', '<REGION_PROPOSAL>'), [
      { task: '<OD>', answer: { boxes: [] } },
      { task: '<REGION_PROPOSAL>', answer: { boxes: [] } },
    ]);
    const mask = '<REFERRING_EXPRESSION_SEGMENTATION>';
    assert.equal(await targets(0, mask), [
      { task: mask, text: 'dog', answer: { instances: [{ label: '', polygons: [triangle] }] } },
      { task: mask, text: 'cat', answer: { instances: [{ label: '', polygons: [square] }] } },
    ]);
    // b.bmp has a box without an outline, and a mask as run lengths.
    assert.equal(await targets(1, '<REGION_TO_SEGMENTATION>'), [
      {
        task: '<REGION_TO_SEGMENTATION>',
        box: [4, 0, 8, 5],
        answer: { instances: [{ label: '', polygons: [[4, 0, 8, 0, 8, 5, 4, 5]] }] },
      },
    ]);
    const none = await openDataset(join(folder, 'x.json'), { tasks: ['<REGION_TO_SEGMENTATION>'] });
    assert.is(none.length, 2, 'an image without targets is skipped');
  });
});

test("outlines of pycocotools' run lengths enclose the area that it counts, and the holes", async () => {
  let compared = 0;
  for (const { id, image_size, rle, rle_counts, area } of referenceJson('processor/masks.json').cases) {
    if (area < 500) continue;
    const size: [number, number] = [image_size[1], image_size[0]];
    const json = {
      images: [{ id: 1, file_name: 'a.bmp', width: size[1], height: size[0] }],
      categories: [{ id: 1, name: 'dog' }],
      annotations: [rle, rle_counts].map((counts, id) => {
        return { id, image_id: 1, category_id: 1, bbox: [0, 0, 1, 1], segmentation: { size, counts } };
      }),
    };
    await inFolder({ 'a.bmp': image, 'x.json': json }, async folder => {
      const tasks = ['<REGION_TO_SEGMENTATION>'];
      const { targets } = await (await openDataset(join(folder, 'x.json'), { tasks })).example(0);
      const [polygons, same] = targets.map(
        ({ answer }) => (answer as unknown as { instances: Outline[] }).instances[0].polygons,
      );
      assert.equal(same, polygons, id);
      const mask = decodeRle({ size, counts: rle_counts });
      const enclosed = (outlines: number[][]): number => outlines.reduce((sum, outline) => sum + shoelace(outline), 0);
      assert.is(enclosed(maskOutlines(mask, 0)), area + holes(mask), id);
      assert.ok(Math.abs(enclosed(polygons) / (area + holes(mask)) - 1) < 0.06, `${id}: ${enclosed(polygons)}`);
      compared++;
    });
  }
  assert.ok(compared >= 10, `${compared}`);
});

interface Outline {
  polygons: number[][];
}

/** Counts the background pixels that are not connected to the border of the image (4-connectivity). */
function holes({ data, width, height }: Mask): number {
  const outside = new Uint8Array((width + 2) * (height + 2));
  const waiting = [0];
  let reached = 0;
  for (let i = waiting.pop(); i !== undefined; i = waiting.pop()) {
    const [x, y] = [i % (width + 2), Math.floor(i / (width + 2))];
    const inImage = x > 0 && y > 0 && x <= width && y <= height;
    if (outside[i] || (inImage && data[(y - 1) * width + x - 1])) continue;
    outside[i] = 1;
    if (inImage) reached++;
    if (x > 0) waiting.push(i - 1);
    if (x < width + 1) waiting.push(i + 1);
    if (y > 0) waiting.push(i - width - 2);
    if (y < height + 1) waiting.push(i + width + 2);
  }
  return width * height - reached - maskArea({ data, width, height });
}

function shoelace(polygon: number[]): number {
  let sum = 0;
  for (let i = 0; i < polygon.length; i += 2) {
    const next = (i + 2) % polygon.length;
    sum += (polygon[i] * polygon[next + 1] - polygon[next] * polygon[i + 1]) / 2;
  }
  return sum;
}

test('each caption is a target', async () => {
  const captions = {
    images: instances.images,
    annotations: [
      { image_id: 7, id: 1, caption: 'A dog. ' },
      { image_id: 7, id: 2, caption: 'Two animals.' },
    ],
  };
  await inFolder({ ...images, 'x.json': captions }, async folder => {
    const dataset = await openDataset(join(folder, 'x.json'));
    assert.is(dataset.length, 1);
    assert.equal((await dataset.example(0)).targets, [
      { task: '<CAPTION>', answer: { text: 'A dog. ' } },
      { task: '<CAPTION>', answer: { text: 'Two animals.' } },
    ]);
    const detailed = await openDataset(join(folder, 'x.json'), { tasks: ['<DETAILED_CAPTION>'] });
    assert.is((await detailed.example(0)).targets[0].task, '<DETAILED_CAPTION>');
    await rejects(
      openDataset(join(folder, 'x.json'), { tasks: ['<OD>'] }),
      /x\.json cannot teach <OD>; it can: <CAPTION>/,
    );
  });
});

test("images are found in COCO's layout", async () => {
  const files = {
    'annotations/instances_val2017.json': { ...instances, images: instances.images.slice(0, 1), annotations: [] },
    'val2017/a.bmp': image,
    'other/y.json': { ...instances, images: instances.images.slice(1, 2), annotations: [] },
    'elsewhere/b.bmp': image,
  };
  await inFolder(files, async folder => {
    const found = await openDataset(join(folder, 'annotations/instances_val2017.json'));
    assert.is((await found.example(0)).image, join(folder, 'val2017/a.bmp'));
    await rejects(
      openDataset(join(folder, 'other/y.json')),
      /images\[0\]: The image b\.bmp does not exist: looked for /,
    );
    const given = await openDataset(join(folder, 'other/y.json'), { imageRoot: join(folder, 'elsewhere') });
    assert.is((await given.example(0)).image, join(folder, 'elsewhere/b.bmp'));
  });
});

test('errors name the entry', async () => {
  const good = { image_id: 7, category_id: 1, bbox: [1, 1, 8, 7] };
  const cases: [annotation: unknown, message: RegExp][] = [
    [3, /It is 3, expected an object/],
    [{ ...good, image_id: 8 }, /image_id 8 is not among the images/],
    [{ ...good, category_id: 2 }, /category_id 2 is not among the categories/],
    [{ ...good, bbox: [1, 2, 3] }, /bbox is \[1,2,3\], expected x, y, width and height/],
    [{ ...good, bbox: undefined }, /bbox is undefined/],
    [{ ...good, bbox: [5, 5, -1, 2] }, /bbox is \[5,5,-1,2\]: its width or height is negative/],
    [{ ...good, segmentation: [['a', 2]] }, /segmentation\[0\] is \["a",2\], expected x, y/],
    [{ ...good, segmentation: 'x' }, /segmentation is "x", expected polygons or run lengths/],
    [{ ...good, segmentation: { size: [10], counts: [] } }, /segmentation\.size is \[10\]/],
    [{ ...good, segmentation: { size: [10, 20], counts: [3] } }, /Run lengths of 3 pixels do not fill a mask of 20x10/],
    [{ ...good, segmentation: { size: [20, 10], counts: [200] } }, /is a mask of 10x20 pixels, but the image is 20x10/],
  ];
  const json = { ...instances, annotations: [...cases.map(([annotation]) => annotation), good] };
  await inFolder({ ...images, 'x.json': json, 'list.json': [], 'no.json': {}, 'bad.json': '{' }, async folder => {
    const problems: DatasetProblem[] = [];
    const file = join(folder, 'x.json');
    const tasks = ['<REGION_TO_CATEGORY>', '<REGION_TO_SEGMENTATION>'];
    const dataset = await openDataset(file, { tasks, onProblem: problem => problems.push(problem) });
    assert.is(dataset.length, 1);
    assert.is(problems.length, cases.length, JSON.stringify(problems, null, 1));
    for (const [i, [annotation, message]] of cases.entries()) {
      assert.is(problems[i].source, `${file}: annotations[${i}]`, JSON.stringify(annotation));
      assert.match(problems[i].message, message);
    }
    await rejects(openDataset(file), /x\.json: annotations\[0\]: It is 3/);
    await rejects(openDataset(join(folder, 'none.json')), /none\.json does not exist/);
    await rejects(openDataset(join(folder, 'list.json')), /list\.json holds \[\], expected a list of tasks/);
    await rejects(openDataset(join(folder, 'no.json')), /no\.json has no list of annotations/);
    await rejects(openDataset(join(folder, 'bad.json')), /bad\.json is not JSON/);
  });
});

test('invalid images and categories are reported once', async () => {
  const json = {
    images: [{ id: 1, file_name: 'a.bmp' }, { id: 1, file_name: 'b.bmp' }, { id: 2, file_name: 'none.bmp' }, { id: 3 }],
    categories: [
      { id: 1, name: 'dog' },
      { id: 1, name: 'cat' },
      { id: 2, name: '' },
      { id: 3, name: 'a<b' },
    ],
    annotations: [
      { image_id: 2, category_id: 1, bbox: [0, 0, 1, 1] },
      { image_id: 1, category_id: 2, bbox: [0, 0, 1, 1] },
      { image_id: 1, category_id: 1, bbox: [0, 0, 1, 1] },
    ],
  };
  await inFolder({ ...images, 'x.json': json }, async folder => {
    const problems: DatasetProblem[] = [];
    const dataset = await openDataset(join(folder, 'x.json'), { onProblem: problem => problems.push(problem) });
    assert.equal(
      problems.map(({ source }) => source.replace(/.*: /, '')),
      ['images[1]', 'images[2]', 'images[3]', 'categories[1]', 'categories[2]', 'categories[3]'],
    );
    assert.is(dataset.length, 1);
    const example = await dataset.example(0);
    assert.is(example.imageSize, undefined, 'not in the file');
    assert.equal(example.targets, [{ task: '<OD>', answer: { boxes: [{ label: 'dog', box: [0, 0, 1, 1] }] } }]);
  });
});

const texts = ['', '\\', '\\\\"', '"],[{}', 'é😀\u2028', '\n'];

test('a file of several chunks is parsed item by item as JSON.parse parses it', async () => {
  const items = Array.from({ length: 40_000 }, (_, i) => ({
    ...{ id: i, name: `${'x'.repeat(i % 97)}${texts[i % texts.length]}` },
    ...{ inner: { list: [i, [], {}], none: null } },
  }));
  const value = {
    list: 'images',
    images: items,
    other: { images: [1] },
    more: Object.fromEntries(items.map((item, i) => [`k${i}`, item])),
    empty: [],
  };
  await inFolder(
    { 'a.json': `\uFEFF${JSON.stringify(value)}`, 'b.json': JSON.stringify(items, null, 1), 'c.json': '7' },
    async folder => {
      const read: Record<string, unknown[]> = { images: [], more: [], empty: [] };
      const rest = await readJsonItems(
        join(folder, 'a.json'),
        { images: '[', more: '{', empty: '[' },
        (item, i, field) => {
          assert.is(i, read[field].length);
          read[field].push(item);
        },
      );
      assert.equal(read, { images: items, more: Object.entries(value.more), empty: [] });
      assert.equal(rest, { ...value, images: [], more: {} });
      const list: unknown[] = [];
      assert.equal(await readJsonItems(join(folder, 'b.json'), '[', item => list.push(item)), []);
      assert.equal(list, items);
      assert.is(await readJsonItems(join(folder, 'c.json'), '[', () => undefined), 7);
    },
  );
});

const invalid = [
  '',
  '[',
  '[1',
  '[1,',
  '[1,]',
  '[,1]',
  '[1,,2]',
  '[1}',
  '[1] 2',
  '[{]}]',
  '[1 2]',
  '["a]',
  '{"a":[1,]}',
];

for (const text of [...invalid, '{"b":{"x":1,}}', '{"b":{,}}', '{"b":{"x"}}', '{"a":[1]', '{"a":[1}}', '{"a":[]]']) {
  test(`${text} is not JSON`, () =>
    inFolder({ 'a.json': text }, async folder => {
      const fields = text.startsWith('{') ? ({ a: '[', b: '{' } as const) : '[';
      await rejects(
        readJsonItems(join(folder, 'a.json'), fields, () => undefined),
        /a\.json is not JSON: /,
      );
    }));
}

async function rejects(promise: Promise<unknown>, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  assert.ok(error, `expected an error like ${message}`);
  assert.match(error.message, message);
}

test.run();
