import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bmp } from '../../datasets/folder.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2 } from '../florence2.ts';

const folder = temporaryFolder();
const coco = {
  images: [{ id: 1, file_name: 'a.bmp', width: 20, height: 10 }],
  categories: [{ id: 1, name: 'dog' }],
  annotations: [
    { id: 1, image_id: 1, category_id: 1, bbox: [1, 2, 4, 4], score: 0.5 },
    { id: 2, image_id: 1, category_id: 9, bbox: [1, 2, 4, 4] },
  ],
};
mkdirSync(join(folder, 'in'));
writeFileSync(join(folder, 'in/a.bmp'), bmp(20, 10));
writeFileSync(join(folder, 'in/good.json'), JSON.stringify({ ...coco, annotations: coco.annotations.slice(0, 1) }));
writeFileSync(join(folder, 'in/bad.json'), JSON.stringify(coco));

test('convert writes the dataset, and says what the format cannot hold', async () => {
  const out = join(folder, 'yolo');
  const { code, stdout, stderr } = await florence2(
    'convert',
    join(folder, 'in/good.json'),
    out,
    '--to',
    'yolo',
    '--copy',
  );
  assert.is(code, 0, stderr);
  assert.is(stdout, `${out}: train 1 images\nyolo cannot hold: 1 scores\n`);
  assert.is(readFileSync(join(out, 'labels/train/a.txt'), 'utf8'), '0 0.15 0.4 0.2 0.4\n');
  assert.is(readFileSync(join(out, 'data.yaml'), 'utf8'), 'train: images/train\nnames:\n  "0": dog\n');
  const again = await florence2('convert', join(folder, 'in/good.json'), out, '--to', 'yolo', '--copy');
  assert.is(again.code, 2);
  assert.match(again.stderr, /exists and is not empty/);
});

test('an invalid entry stops it, or is skipped with exit code 1', async () => {
  const args = ['convert', join(folder, 'in/bad.json'), join(folder, 'coco'), '--to', 'coco'];
  const stopped = await florence2(...args);
  assert.is(stopped.code, 1);
  assert.match(stopped.stderr, /annotations\[1\]: category_id 9 is not among the categories/);
  const { code, stdout, stderr } = await florence2(...args, '--on-error', 'skip');
  assert.is(code, 1);
  assert.match(stdout, /train 1 images/);
  assert.match(stderr, /annotations\[1\]: category_id 9/);
  assert.match(stderr, /The images stay where they are/);
});

test('an unknown format is refused', async () => {
  const { code, stderr } = await florence2('convert', join(folder, 'in/good.json'), 'x', '--to', 'cocoo');
  assert.is.not(code, 0);
  assert.match(stderr, /coco/);
});

test.run();
