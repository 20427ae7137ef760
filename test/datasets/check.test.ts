import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DatasetReport } from '../../src/datasets/check.ts';
import { collectDataset } from '../../src/datasets/collect.ts';
import type { Dataset, Target } from '../../src/datasets/example.ts';
import { checkDataset } from '../../src/datasets/open.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { reference } from '../reference.ts';
import { bmp, inFolder } from './folder.ts';

const tokenizer = Tokenizer.fromFiles({ tokenizerJson: readFileSync(reference('tokenizer/tokenizer.json'), 'utf8') });

const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);

/** Returns the problems as lines without the folder. */
const linesOf = ({ problems }: DatasetReport, folder: string): string[] =>
  problems.map(({ severity, source, message }) => `${severity} ${source}: ${message}`.replaceAll(`${folder}/`, ''));

test('a dataset without problems', async () => {
  const rows = [
    { image: 'a.bmp', prefix: '<OD>', suffix: 'dog<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>' },
    {
      image: 'b.bmp',
      task: '<OD>',
      answer: {
        boxes: [
          { label: 'cat', box: [0, 0, 20, 10] },
          { label: 'dog', box: [1, 1, 2, 2] },
        ],
      },
    },
    { image: 'b.bmp', prefix: '<DocVQA>What is it?', suffix: 'A cat.' },
    { image: 'c.bmp', task: '<REGION_TO_CATEGORY>', box: [0, 0, 3, 3], answer: { text: 'dog' } },
  ];
  const images = { 'a.bmp': bmp(20, 10), 'b.bmp': bmp(20, 10), 'c.bmp': bmp(5, 5) };
  await inFolder({ ...images, 'annotations.jsonl': rows.map(row => JSON.stringify(row)).join('\n') }, async folder => {
    const length = (text: string): number => tokenizer.encode(text).length;
    const lengths = [
      length(rows[0].suffix!),
      length('cat<loc_0><loc_0><loc_999><loc_999>dog<loc_50><loc_100><loc_100><loc_200>'), // x: 50 bins a pixel, y: 100
      ...[length('A cat.'), length('dog')],
    ];
    const prompts = ['Locate the objects with category name in the image.', '<DocVQA>What is it?'].map(length);
    prompts.push(length('What is the region <loc_0><loc_0><loc_600><loc_600>?'));
    const progress: number[][] = [];
    const onProgress = (...done: number[]): void => void progress.push(done);
    const report = await checkDataset(folder, { tokenizer, onProgress });
    assert.equal(report, {
      name: join(folder, 'annotations.jsonl'),
      problems: [],
      images: 3,
      targets: { '<OD>': 2, '<DocVQA>': 1, '<REGION_TO_CATEGORY>': 1 },
      labels: { dog: 4, cat: 1 },
      imageSizes: { '20x10': 2, '5x5': 1 },
      tokens: { answers: sum(lengths), longestAnswer: Math.max(...lengths), longestPrompt: Math.max(...prompts) },
    });
    assert.equal(progress, [
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
    assert.is('tokens' in (await checkDataset(folder)), false);
  });
});

test('all problems are reported with file and line', async () => {
  const od = (box: number[], label = 'dog') => ({ task: '<OD>', answer: { boxes: [{ label, box }] } });
  const rows: [row: object | string, problem: string | null][] = [
    ['{', 'error x.jsonl:1: The line is not JSON'],
    [{ image: 'none.bmp', prefix: '<OD>', suffix: '' }, 'error x.jsonl:2: The image none.bmp does not exist'],
    [{ image: 'a.bmp', prefix: '<CAPTON>', suffix: '' }, 'error x.jsonl:3: "<CAPTON>" is not a task token'],
    [
      { image: 'a.bmp', prefix: '<OD>', suffix: 'a<loc_0><loc_0><loc_0><loc_1000>' },
      'error x.jsonl:4: The answer contains <loc_1000>',
    ],
    [{ image: 'a.bmp', ...od([0, 0, 5, 5], '') }, 'error x.jsonl:5: answer.boxes[0].label is empty'],
    [{ image: 'a.bmp', ...od([5, 5, 0, 0]) }, 'error x.jsonl:6: answer.boxes[0].box is [5,5,0,0], expected'],
    [{ image: 'a.bmp', prefix: '<CAPTION>', suffix: 'A dog.' }, null],
    [
      { image: 'a.bmp', prefix: '<CAPTION>', suffix: 'A dog.' },
      'warning x.jsonl:8: The target is a duplicate of x.jsonl:7.',
    ],
    [{ image: 'a.bmp', ...od([0, 0, 20.9, 10.5]) }, null],
    [
      { image: 'a.bmp', ...od([0, 0, 22, 10]) },
      'warning x.jsonl:10: answer.boxes[0].box [0,0,22,10] extends beyond the image of 20x10',
    ],
    [
      { image: 'a.bmp', ...od([30, 0, 40, 10]) },
      'warning x.jsonl:11: answer.boxes[0].box [30,0,40,10] is outside the image of 20x10',
    ],
    [{ image: 'a.bmp', ...od([3, 4, 3, 9]) }, 'warning x.jsonl:12: answer.boxes[0].box [3,4,3,9] is empty.'],
    [
      { image: 'a.bmp', prefix: '<OD>', suffix: 'dog<loc_9><loc_0><loc_1><loc_9>' },
      'warning x.jsonl:13: answer.boxes[0].box [0.19,',
    ],
    [
      { image: 'a.bmp', task: '<REGION_TO_OCR>', box: [0, 0, 50, 5], answer: { text: 'A' } },
      'warning x.jsonl:14: box [0,0,50,5] extends beyond the image of 20x10',
    ],
    [
      {
        image: 'a.bmp',
        task: '<OCR_WITH_REGION>',
        answer: { quads: [{ text: 'A', quad: [0, 0, 5, 0, 5, 90, 0, 5] }] },
      },
      'warning x.jsonl:15: answer.quads[0].quad [0,0,5,0,5,90,0,5] extends beyond',
    ],
    [
      {
        image: 'a.bmp',
        task: '<REGION_TO_SEGMENTATION>',
        box: [0, 0, 9, 9],
        answer: { instances: [{ polygons: [[0, 0, 5, 0, 5, -9]] }] },
      },
      'warning x.jsonl:16: answer.instances[0].polygons[0] [0,0,5,0,5,-9] extends beyond',
    ],
    [
      { image: 'a.bmp', prefix: '<CAPTION_TO_PHRASE_GROUNDING>it', suffix: 'it<loc_0><loc_0><loc_9><loc_9>' },
      'warning x.jsonl:17: Results omit the phrase "it".',
    ],
    [
      { image: 'a.bmp', ...od([0, 0, 5, 5], 'café') },
      'warning x.jsonl:18: Results remove the characters outside ASCII from the label "café"',
    ],
    [{ image: 'a.bmp', ...od([0, 0, 6, 5], 'café') }, null],
    [
      { image: 'a.bmp', prefix: '<OD>', suffix: `dog${'<loc_0><loc_0><loc_9><loc_9>'.repeat(256)}` },
      'error x.jsonl:20: The answer to <OD> has 1027 tokens; the model has 1024 positions.',
    ],
    [{ image: 'text.bmp', prefix: '<OD>', suffix: '' }, 'error x.jsonl:21: '],
    [{ image: 'cut.bmp', prefix: '<OD>', suffix: '' }, 'error x.jsonl:22: '],
    [
      { image: 'a.bmp', prefix: '<ODD>', suffix: 'x' },
      'warning x.jsonl:23: "<ODD>" is not a task token, so it is learnt as a custom prompt. Did you mean <OD>?',
    ],
  ];
  const files = {
    'a.bmp': bmp(20, 10),
    'text.bmp': 'no image',
    'cut.bmp': bmp(20, 10).subarray(0, 100),
    'x.jsonl': rows.map(([row]) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n'),
  };
  await inFolder(files, async folder => {
    const report = await checkDataset(join(folder, 'x.jsonl'), { tokenizer });
    const lines = linesOf(report, folder);
    const expected = rows.flatMap(([, problem]) => problem ?? []);
    const numbered = (line: string): number => Number(/jsonl:(\d+)/.exec(line)?.[1]);
    const sorted = [...lines].sort((a, b) => numbered(a) - numbered(b));
    assert.is(sorted.length, expected.length, sorted.join('\n'));
    for (const [i, line] of sorted.entries()) assert.is(line.slice(0, expected[i].length), expected[i]);
    assert.match(sorted.find(line => line.includes(':13:'))!, /0\.03,.* has its corners in the wrong order\.$/);
    assert.match(sorted.at(-3)!, /text\.bmp is not an image/);
    assert.match(sorted.at(-2)!, /cut\.bmp is a damaged or truncated BMP image/);
    assert.is(report.images, 3);
    assert.equal(report.imageSizes, { '20x10': 1 });
    assert.is(report.tokens?.longestAnswer, 1027);
  });
});

test('annotations of another size than the image, rotated or not', async () => {
  const coco = (width: number, height: number) => ({
    images: [{ id: 1, file_name: 'a.bmp', width, height }],
    annotations: [],
    categories: [],
  });
  const files = {
    'a.bmp': bmp(20, 10),
    'turned.json': coco(10, 20),
    'half.json': coco(10, 5),
    'right.json': coco(20, 10),
  };
  await inFolder(files, async folder => {
    const lines = async (name: string): Promise<string[]> => linesOf(await checkDataset(join(folder, name)), folder);
    assert.equal(await lines('turned.json'), [
      'error turned.json: images[0]: The image is 20x10, but the annotations say 10x20. Was its EXIF orientation applied when it was annotated? If so, save the rotated image.',
    ]);
    assert.equal(await lines('half.json'), [
      'error half.json: images[0]: The image is 20x10, but the annotations say 10x5.',
    ]);
    assert.equal(await lines('right.json'), []);
  });
});

test('examples in memory are reported in order, also if there are more than are decoded concurrently', async () => {
  const image = { data: new Uint8Array(3 * 200), width: 20, height: 10 };
  const rows = Array.from({ length: 30 }, (_, i) => ({
    image: { ...image },
    task: '<OD>',
    answer: { boxes: [{ label: 'dog', box: [0, 0, i % 3 === 0 ? 30 : 5, 5] }] },
  }));
  const report = await checkDataset(await collectDataset('mine', rows));
  assert.equal(
    report.problems.map(({ source }) => source),
    [0, 3, 6, 9, 12, 15, 18, 21, 24, 27].map(i => `mine[${i}]`),
  );
  assert.is(report.images, 30);
  const targets = [
    { task: '<OD>', answer: { text: 'a dog' } },
    { task: 'Find it', answer: '' },
  ] as Target[];
  const own: Dataset = { name: 'own', length: 1, example: () => ({ image, source: 'own 1', targets }) };
  assert.equal(linesOf(await checkDataset(own), ''), [
    'error own 1: Task <OD> is answered by boxes, but the answer has text.',
  ]);
});

test('a folder without a dataset is an error', async () => {
  await inFolder({}, async folder => {
    let message = '';
    await checkDataset(folder).catch(error => {
      message = error.message;
    });
    assert.match(message, /has no dataset: looked for annotations\.jsonl/);
  });
});

test.run();
