import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataset } from '../../src/datasets/example.ts';
import { openDataset } from '../../src/datasets/open.ts';
import { evaluate } from '../../src/evaluation/evaluate.ts';
import type { Florence2 } from '../../src/florence2.ts';
import type { TaskResult } from '../../src/results/types.ts';
import { bmp, inFolder } from '../datasets/folder.ts';

const imageSize = { width: 100, height: 100 };
const image = { ...imageSize, data: new Uint8Array(30000) };
const quad = [0, 0, 10, 0, 10, 5, 0, 5] as [number, number, number, number, number, number, number, number];

/** An image with two captions, two objects and two lines, and one with a caption and a read text. */
const dataset: Dataset = {
  name: 'pictures',
  length: 2,
  example: i => ({
    image,
    source: `image ${i}`,
    targets: [
      [
        { task: '<CAPTION>', answer: 'a cat on a mat' },
        { task: '<CAPTION>', answer: 'the cat sleeps on a mat' },
        { task: '<OD>', answer: { boxes: [{ label: 'cat', box: [0, 0, 10, 10] }, { label: 'mat', box: [0, 0, 50, 50] }] } }, // biome-ignore format: one line
        { task: '<OCR_WITH_REGION>', answer: { quads: [{ text: 'EXIT!', quad }, { text: 'IN', quad: quad.map(v => v + 50) as typeof quad }] } }, // biome-ignore format: one line
      ],
      [
        { task: '<CAPTION>', answer: 'two dogs run' },
        { task: '<OCR>', answer: 'no smoking here' },
      ],
    ][i],
  }),
};

/** Asked for the tasks in this order. */
const asked: string[][] = [];

function model(): Florence2 {
  const common = { imageSize, answer: '', truncated: false };
  const answers: Record<string, object>[] = [
    {
      '<CAPTION>': { text: 'a cat on a mat', confidence: 0.9 },
      '<OD>': { boxes: [{ label: 'cat', box: [0, 0, 10, 10], confidence: 0.8 }, { label: 'mat', box: [60, 60, 90, 90], confidence: 0.4 }] }, // biome-ignore format: one line
      '<OCR_WITH_REGION>': { quads: [{ text: 'exit', quad, confidence: 0.5 }] },
    },
    { '<CAPTION>': { text: 'two dogs run', confidence: 0.7 }, '<OCR>': { text: 'no smoke here', confidence: 0.2 } },
  ];
  const florence = {
    withAdapter: () => florence,
    encodeImage: async () => ({ dispose() {} }),
    async runBatch(requests: { task: string }[]): Promise<TaskResult[]> {
      const known = answers[asked.length];
      asked.push(requests.map(({ task }) => task));
      return requests.map(({ task }) => ({ task, ...common, ...known[task] }) as TaskResult);
    },
  };
  return florence as unknown as Florence2;
}

const near = (found: number, expected: number, what: string) =>
  assert.ok(Math.abs(found - expected) <= 1e-12, `${what}: ${found}, not ${expected}`);

test('each task gets its metrics, and each question is asked once', async () => {
  const tasks = await evaluate(model(), dataset);
  assert.equal(asked, [
    ['<CAPTION>', '<OD>', '<OCR_WITH_REGION>'],
    ['<CAPTION>', '<OCR>'],
  ]);

  const captions = tasks['<CAPTION>'].metrics;
  near(captions.exactMatch, 2 / 3, 'two of three captions are equal');
  near(captions['ROUGE-L'], 1, 'each answer equals one of its references');
  // Image 0: against itself 1 by each order, against the other reference less; image 1 is too short for 4-grams.
  assert.ok(captions['CIDEr-D'] > 5 && captions['CIDEr-D'] < 10, `${captions['CIDEr-D']}`);

  const { metrics, classes, outcomes } = tasks['<OD>'];
  near(metrics.mAP, 0.5, 'one class of two is found');
  near(metrics.mAPSmall, 1, 'the small one');
  near(metrics.mAPMedium, 0, 'the medium one');
  assert.equal(classes.map(({ label, truths, found }) => [label, truths, found]), [['cat', 1, 1], ['mat', 1, 1]]); // biome-ignore format: one line
  assert.equal(outcomes, [{ confidence: 0.8, right: true }, { confidence: 0.4, right: false }]); // biome-ignore format: one line
  near(metrics.calibrationError, (0.2 + 0.4) / 2, 'two bins of one');
  assert.not.ok(
    Object.keys(metrics).some(name => name.startsWith('AP/')),
    'classes have their own list',
  );

  const lines = tasks['<OCR_WITH_REGION>'].metrics;
  assert.equal([lines.precision, lines.recall], [1, 0.5]);

  const { WER, CER } = tasks['<OCR>'].metrics;
  near(WER, 1 / 3, 'one word of three');
  near(CER, 3 / 15, 'smoking to smoke: two deletions and a replacement');
});

test('crowds and areas of a COCO file count as in pycocotools', () =>
  inFolder(
    {
      'a.json': {
        images: [{ id: 1, file_name: 'a.bmp', width: 100, height: 100 }],
        categories: [{ id: 1, name: 'dog' }],
        annotations: [
          { id: 1, image_id: 1, category_id: 1, bbox: [0, 0, 20, 20], area: 2000, iscrowd: 0, segmentation: [[0, 0, 20, 0, 20, 20]] }, // biome-ignore format: one line
          { id: 2, image_id: 1, category_id: 1, bbox: [50, 0, 50, 50], area: 2000, iscrowd: 1, segmentation: [] },
        ],
      },
      'a.bmp': bmp(100, 100),
    },
    async folder => {
      const boxes = [
        { label: 'dog', box: [60, 0, 80, 20], confidence: 0.9 },
        { label: 'dog', box: [20, 25, 40, 45], confidence: 0.8 },
        { label: 'dog', box: [0, 0, 20, 20], confidence: 0.5 },
      ];
      const florence = {
        withAdapter: () => florence,
        encodeImage: async () => ({ dispose() {} }),
        runBatch: async () => [{ task: '<OD>', imageSize, answer: '', truncated: false, boxes }],
      };
      const tasks = await evaluate(florence as unknown as Florence2, await openDataset(join(folder, 'a.json')));
      const { metrics } = tasks['<OD>'];
      // pycocotools 2.0.11: the box in the crowd is not counted, and the true one is of medium size by its area
      assert.is(metrics.mAP, 0.5);
      assert.is(metrics.mAPMedium, 1, 'small wrong boxes are not counted');
      assert.is(metrics.mAPSmall, undefined);
    },
  ));

test('wrong options are refused', async () => {
  try {
    await evaluate(model(), dataset, { numBeam: 1 } as object);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /numBeams/);
  }
});

test.run();
