import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataset } from '../../src/datasets/example.ts';
import { checkDataset, openDataset } from '../../src/datasets/open.ts';
import type { Split } from '../../src/datasets/reading.ts';
import type { Florence2 } from '../../src/florence2.ts';
import type { Request } from '../../src/requests.ts';
import { parse } from '../../src/results/parse/parse.ts';
import { Tokenizer } from '../../src/text/tokenizer.ts';
import { drawBeforeAfter } from '../../tools/demo/before_after.ts';
import { detect, shapeFigures } from '../../tools/demo/measure_shape.ts';
import { writeShapeDatasets } from '../../tools/demo/shape_dataset.ts';
import { demoTokenizer } from '../../tools/demo/tokenizer.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const folder = temporaryFolder();
const old = join(folder, 'old');
await writeShapeDatasets(folder, { train: 20, valid: 3, test: 12, replay: 30 });

const parts: [folder: string, split: Split, images: number][] = [
  [folder, 'train', 20],
  [folder, 'valid', 3],
  [folder, 'test', 12],
  [old, 'train', 30],
  [old, 'valid', 3],
  [old, 'test', 12],
];

const answers = async (dataset: Dataset): Promise<string[]> => {
  const examples = await Promise.all(Array.from({ length: dataset.length }, (_, i) => dataset.example(i)));
  return examples.map(({ targets }) => targets.map(({ answer }) => answer).join('\n'));
};

test('every part is a dataset without mistakes, in words of the demo vocabulary', async () => {
  const tokenizer = Tokenizer.fromFiles({ tokenizerJson: JSON.stringify(demoTokenizer().json) });
  for (const [path, split, images] of parts) {
    const report = await checkDataset(path, { split, tokenizer, limits: { maxPositions: 128, imageTokens: 17 } });
    assert.equal(report.problems, [], `${path} ${split}`);
    assert.is(report.images, images);
    assert.equal(report.imageSizes, { '128x128': images });
    assert.ok(report.targets['<OD>'] === images && Object.keys(report.targets).length >= 14, `${path} ${split}`);
  }
  assert.is(tokenizer.encode(' heart').length, 3); // with <s> and </s>
});

test('every new image has the new shape, and no old one has', async () => {
  for (const [path, split] of parts) {
    for (const text of await answers(await openDataset(path, { split, tasks: ['<OD>'] }))) {
      assert.is(/(red|orange|yellow|green|blue|purple) heart/.test(text), path === folder, text);
    }
  }
});

test('no image is in two parts', async () => {
  const all = await Promise.all(parts.map(async ([path, split]) => answers(await openDataset(path, { split }))));
  assert.is(new Set(all.flat()).size, all.flat().length);
});

/** A model that returns the true answers to `<OD>`, changed by `edit`. */
async function oracle(edit: (answer: string) => string): Promise<Florence2> {
  const byImage = new Map<string, string>();
  const size = { width: 128, height: 128 };
  const { decodeImage } = await import('../../src/image/decode.ts');
  for (const path of [folder, old]) {
    const dataset = await openDataset(path, { split: 'test', tasks: ['<OD>'] });
    for (let i = 0; i < dataset.length; i++) {
      const { image, targets } = await dataset.example(i);
      byImage.set(Buffer.from((await decodeImage(image)).data).toString('base64'), targets[0].answer as string);
    }
  }
  const answerTo = ({ image }: Request): string =>
    edit(byImage.get(Buffer.from((image as { data: Uint8Array }).data).toString('base64'))!);
  return {
    runBatch: async (requests: Request[]) => requests.map(request => parse(answerTo(request), '<OD>', size)),
  } as unknown as Florence2;
}

test('the figures separate the new shape from known ones', async () => {
  const cases: [edit: (answer: string) => string, newShape: number, known: number][] = [
    [answer => answer, 1, 1],
    [() => '', 0, 0],
    [answer => answer.replaceAll('heart', 'circle'), 0, 1],
    [answer => answer.replaceAll(/circle|square|triangle|diamond|star|sign/g, 'cross'), 1, 0],
  ];
  const [withNew, without] = await Promise.all(
    [folder, old].map(path => openDataset(path, { split: 'test', tasks: ['<OD>'] })),
  );
  for (const [edit, newShape, known] of cases) {
    const model = await oracle(edit);
    const figures = shapeFigures(await detect(model, withNew), await detect(model, without));
    assert.equal(figures, { newShape, known }, `${edit}`);
  }
});

test('detections before and after are drawn as two rows', async () => {
  const { default: sharp } = await import('sharp');
  const dataset = await openDataset(folder, { split: 'test', tasks: ['<OD>'] });
  const detected = (await detect(await oracle(answer => answer), dataset)).slice(0, 3);
  const { width, height } = await sharp(await drawBeforeAfter(detected, detected)).metadata();
  assert.ok(width > 3 * 384 && height > 2 * 384, `${width}x${height}`);
});

test.run();
