import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RunPictures } from '../../src/training/pictures.ts';
import { withoutLeaks } from '../backend.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { dataset, learnerCheckpoint, logic, newFolder, train } from './learner.ts';

logic('a run draws its first three steps, and the same images at each validation', () =>
  withoutLeaks(async () => {
    const [folder, output] = [await learnerCheckpoint(), newFolder()];
    const options = { train: dataset(5), valid: dataset(3), epochs: 1, validateEvery: 2, lora: { r: 2 }, output };
    (await train(folder, { ...options, pictures: true })).florence.dispose();
    const pictures = readdirSync(join(output, 'pictures')).sort();
    assert.equal(pictures, [
      ...['step-1.png', 'step-2.png', 'step-3.png'],
      ...['validation-000002.png', 'validation-000004.png', 'validation-000005.png'],
    ]);
    const sizes = await Promise.all(pictures.slice(3).map(name => sharp(join(output, 'pictures', name)).metadata()));
    // Truth and answer of three images: six tiles of 396 pixels, four in a row.
    for (const { width, height } of sizes) assert.equal([width, height], [12 + 4 * 396, 2 * 424]);
  }),
);

logic('unfinished files of killed runs are removed', () =>
  withoutLeaks(async () => {
    const [folder, output] = [await learnerCheckpoint(), newFolder()];
    const options = { train: dataset(1), lora: { r: 2 }, output };
    (await train(folder, { ...options, pictures: true })).florence.dispose();
    const ended = 2 ** 22 + 1; // above the largest process id of Linux
    const litter = ['', 'pictures'].map(name => join(output, name, `a.png.${ended}-x.incomplete`));
    for (const path of litter) writeFileSync(path, '');
    (await train(folder, { ...options, resume: true })).florence.dispose();
    assert.equal(litter.filter(existsSync), []);
  }),
);

const pixels = { data: new Uint8Array(3 * 64 * 64), width: 64, height: 64 };
const imageSize = { width: 64, height: 64 };
const target = { task: '<REGION_TO_CATEGORY>', text: '<loc_100><loc_100><loc_900><loc_900>', answer: { text: 'dark' } };
const image = { key: 'a', source: 'a', imageSize, targets: [target], tokenized: [], pixels };

test('a region that is given by location tokens is drawn', async () => {
  const output = temporaryFolder();
  await new RunPictures(output, assert.unreachable).step(1, [image]);
  const picture = sharp(join(output, 'pictures', 'step-1.png'))
    .removeAlpha()
    .raw();
  const { data, info } = await picture.toBuffer({ resolveWithObject: true });
  const brightest = (x: number, y: number): number => Math.max(...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)); // biome-ignore format: one line
  const row = Array.from({ length: 384 }, (_, x) => brightest(12 + x, 40 + 150));
  assert.ok(
    row.slice(20, 80).some(value => value > 100),
    'the left edge',
  );
  assert.ok(
    row.slice(100, 280).every(value => value < 100),
    'nothing inside',
  );
});

test('a picture that cannot be written is a warning', async () => {
  const output = temporaryFolder();
  writeFileSync(join(output, 'pictures'), 'a file in the way');
  const warnings: string[] = [];
  await new RunPictures(output, warning => warnings.push(warning)).step(1, [image]);
  assert.is(warnings.length, 1);
  assert.match(warnings[0], /^pictures\/step-1\.png is missing: .*pictures/);
});

test('later steps, and images without pixels, are not drawn', async () => {
  const output = temporaryFolder();
  const pictures = new RunPictures(output, assert.unreachable);
  await pictures.step(4, [image]);
  await pictures.step(1, [{ ...image, pixels: null }]);
  assert.not.ok(existsSync(join(output, 'pictures')));
});

test.run();
