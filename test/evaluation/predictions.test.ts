import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { collectDataset } from '../../src/datasets/collect.ts';
import type { Dataset } from '../../src/datasets/example.ts';
import { openDataset } from '../../src/datasets/open.ts';
import { evaluatePredictions } from '../../src/evaluation/predictions.ts';
import { referenceJson, referenceRoot } from '../reference.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

interface Detections {
  iou_type: string;
  stats_names: string[];
  ground_truth: { images: { id: number; file_name: string }[] };
  detections: object[];
  evaluations: { max_dets: number[]; use_cats: boolean; stats: number[] }[];
}

const folder = temporaryFolder();
const NAMES: Record<string, string> = { AP: 'mAP', AP50: 'mAP50', AP75: 'mAP75' };
const ourName = (name: string): string =>
  NAMES[name] ??
  name.replace(/^AP/, 'mAP').replace(/(small|medium|large)$/, size => size[0].toUpperCase() + size.slice(1));

/** Writes a JSON file and returns its path. */
function written(name: string, value: unknown): string {
  writeFileSync(join(folder, name), JSON.stringify(value));
  return join(folder, name);
}

for (const name of readdirSync(join(referenceRoot, 'evaluation/detection'))) {
  const set: Detections = referenceJson(`evaluation/detection/${name}`);
  if (set.iou_type !== 'bbox') continue;
  test(`${name}: a list of COCO results has the numbers of pycocotools`, async () => {
    const { images } = set.ground_truth;
    images.sort((a, b) => a.id - b.id); // pycocotools ranks equal scores in this order
    const truth = written('truth.json', set.ground_truth);
    const options = { tasks: ['<OD>'], requireImages: false, crowds: true };
    const results = written('results.json', set.detections);
    const predictions = await openDataset(truth, { ...options, results });
    const found = await evaluatePredictions(await openDataset(truth, options), predictions);
    const { metrics } = found['<OD>'];
    const { stats } = set.evaluations.find(({ max_dets, use_cats }) => use_cats && max_dets[2] === 100)!;
    for (const [i, stat] of set.stats_names.entries()) {
      const value = metrics[ourName(stat)] ?? -1;
      assert.ok(Math.abs(value - stats[i]) < 1e-9, `${stat} is ${value}, pycocotools ${stats[i]}`);
    }
  });
}

const box = [10, 10, 50, 60] as [number, number, number, number];
const truths = [
  { task: '<OD>', answer: { boxes: [{ label: 'car', box }] } },
  { task: '<CAPTION>', answer: { text: 'A car.' } },
  { task: '<OPEN_VOCABULARY_DETECTION>', text: 'car', answer: { boxes: [{ label: 'car', box }] } },
];

/** Returns a dataset of images of 100×100 pixels with these names. */
async function named(files: string[], targets = truths): Promise<Dataset> {
  const image = { data: new Uint8Array(30_000), width: 100, height: 100 };
  const all = await Promise.all(
    files.map(file =>
      collectDataset(
        file,
        targets.map(target => ({ image, ...target })),
      ),
    ),
  );
  const example = async (i: number) => ({ ...(await all[i].example(0)), file: files[i] });
  return { name: 'named', length: files.length, example };
}

test('answers are paired by question, and images by name or the end of their name', async () => {
  const problems: string[] = [];
  const onProblem = ({ message }: { message: string }) => problems.push(message);
  const truth = await named(['a.jpg', 'b/c.jpg', 'd.jpg']);
  const found = await evaluatePredictions(truth, await named(['a.jpg', 'c.png', 'x.jpg']), { onProblem });
  assert.equal(problems, [
    '1 of 3 images have no predictions and count as empty: d.jpg.',
    '1 of 3 predicted images are not in named.',
  ]);
  assert.is(found['<CAPTION>'].metrics.exactMatch, 2 / 3);
  assert.ok(Math.abs(found['<OD>'].metrics.AR100 - 2 / 3) < 1e-12);
  assert.ok(Math.abs(found['<OPEN_VOCABULARY_DETECTION>'].metrics.AR100 - 2 / 3) < 1e-12);
});

test('a name that ends like several others pairs with none', async () => {
  const predictions = await named(['x/a.jpg', 'y/a.jpg', 'b.jpg']);
  const { metrics } = (await evaluatePredictions(await named(['a.jpg', 'b.jpg']), predictions))['<CAPTION>'];
  assert.is(metrics.exactMatch, 0.5);
});

test('predictions of other images, and results that do not fit the dataset, are errors', async () => {
  const truth = await named(['a.jpg', 'b.jpg', 'c.jpg', 'd.jpg', 'e.jpg']);
  const error = await evaluatePredictions(truth, await named(['z.jpg'])).catch(error => error);
  assert.match(
    error.message,
    /^named has no predictions for the 5 images of named: .* for a\.jpg, b\.jpg, c\.jpg and 2 more\.$/,
  );
  const coco = written('coco.json', { images: [{ id: 1, file_name: 'a.jpg', width: 9, height: 9 }], categories: [{ id: 1, name: 'car' }], annotations: [] }); // biome-ignore format: one line
  const results = written('other.json', [{ image_id: 7, category_id: 1, bbox: [1, 1, 2, 2], score: 0.5 }]);
  const open = () => openDataset(coco, { results, requireImages: false });
  await refuses('an unknown image', open, results, /other\.json: \[0\]: image_id 7 is not among the images\.$/);
});

test.run();
