import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { collectDataset } from '../../src/datasets/collect.ts';
import type { Dataset } from '../../src/datasets/example.ts';
import { holdOut } from '../../src/datasets/holdout.ts';
import { Florence2Error, UsageError } from '../../src/errors.ts';
import type { ImageInput } from '../../src/image/types.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const pixelsOf = (value: number): ImageInput => ({ data: new Uint8Array(48).fill(value), width: 4, height: 4 });
const dataset = (images: readonly ImageInput[]): Promise<Dataset> =>
  collectDataset(
    'images',
    images.map(image => ({ image, task: '<CAPTION>', answer: { text: 'a' } })),
  );
const imagesOf = async (part: Dataset): Promise<ImageInput[]> =>
  Promise.all(Array.from({ length: part.length }, async (_, i) => (await part.example(i)).image));

test('the images whose hash is below the share are held out', async () => {
  const images = Array.from({ length: 200 }, (_, i) => pixelsOf(i));
  const { train, valid } = await holdOut(await dataset(images), 0.2);
  const below = (image: ImageInput): boolean => {
    const digest = createHash('sha256').update((image as { data: Uint8Array }).data).digest('hex'); // biome-ignore format: one line
    return Number.parseInt(digest.slice(0, 12), 16) / 2 ** 48 < 0.2;
  };
  assert.equal(await imagesOf(valid), images.filter(below));
  assert.equal(
    await imagesOf(train),
    images.filter(image => !below(image)),
  );
  assert.ok(valid.length > 20 && valid.length < 60, `${valid.length} of 200`);
  assert.is(valid.name, 'held out of images');
});

test('copies of an image are on one side, and other images do not move', async () => {
  const folder = temporaryFolder();
  const scenes = [1, 2, 3].map(n => fileURLToPath(new URL(`../../docs/scenes/scene-${n}.png`, import.meta.url)));
  const copies = scenes.map((scene, i) => {
    copyFileSync(scene, join(folder, `copy-${i}.png`));
    return join(folder, `copy-${i}.png`);
  });
  const shareOf = (path: string): number =>
    createHash('sha256').update(readFileSync(path)).digest().readUIntBE(0, 6) / 2 ** 48;
  const share = scenes.map(shareOf).sort((a, b) => a - b)[1]; // holds out one scene of three
  const { valid } = await holdOut(await dataset([...scenes, ...copies]), share);
  const [held, copy] = await imagesOf(valid);
  assert.is(valid.length, 2);
  assert.is(shareOf(String(held)), shareOf(String(copy)));
  const fewer = await holdOut(await dataset([...copies].reverse()), share);
  assert.equal(await imagesOf(fewer.valid), [copy]);
});

test('shares outside 0 to 1, and images that are missing, are errors', async () => {
  const images = await dataset([pixelsOf(1)]);
  for (const share of [0, 1, -0.1, Number.NaN]) {
    const error = await holdOut(images, share).catch(error => error);
    assert.instance(error, UsageError);
    assert.match(error.message, /^share must be a number above 0 and below 1, not /);
  }
  const error = await holdOut(await dataset(['none.png']), 0.5).catch(error => error);
  assert.instance(error, Florence2Error);
  assert.match(error.message, /none\.png does not exist/);
  const problems: string[] = [];
  const mixed = await dataset(['none.png', pixelsOf(1)]);
  const { train, valid } = await holdOut(mixed, 0.999_999, ({ message }) => problems.push(message));
  assert.equal(await imagesOf(train), ['none.png']);
  assert.is(valid.length, 1);
  assert.match(problems.join(), /^none\.png does not exist[^,]*$/);
});

test.run();
