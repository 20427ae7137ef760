import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { datasetSplits, type OpenOptions, openDataset } from '../../src/datasets/open.ts';
import { bmp, inFolder } from './folder.ts';

const image = bmp(4, 3);
const row = JSON.stringify({ image: 'a.bmp', prefix: '<OD>', suffix: '' });
const coco = { images: [{ id: 1, file_name: 'a.bmp', width: 4, height: 3 }], annotations: [], categories: [] };

test('the format is recognised by the files in the folder', async () => {
  const files = {
    'jsonl/train/annotations.jsonl': row,
    'jsonl/train/a.bmp': image,
    'jsonl/val/annotations.jsonl': row,
    'jsonl/val/a.bmp': image,
    'coco/train/_annotations.coco.json': coco,
    'coco/train/a.bmp': image,
    'coco/test/_annotations.coco.json': coco,
    'coco/test/a.bmp': image,
    'yolo/data.yaml': 'names: [dog]\ntrain: train/images\nval: valid/images\n',
    'yolo/train/images/a.bmp': image,
    'yolo/valid/images/a.bmp': image,
    'nothing/readme.txt': '',
  };
  await inFolder(files, async folder => {
    const cases: [path: string, options: OpenOptions, expected: string | RegExp][] = [
      ['jsonl', {}, 'jsonl/train/a.bmp'],
      ['jsonl', { split: 'valid' }, 'jsonl/val/a.bmp'],
      ['jsonl/val', {}, 'jsonl/val/a.bmp'],
      ['jsonl/val/annotations.jsonl', {}, 'jsonl/val/a.bmp'],
      [
        'jsonl',
        { split: 'test' },
        /jsonl has no test split of a dataset: looked for test\/annotations\.jsonl, test\/_ann.*It has train, val\./,
      ],
      ['jsonl/val', { split: 'valid' }, /has no valid split/],
      ['jsonl/val/annotations.jsonl', { split: 'valid' }, /has no valid split/],
      ['coco', {}, 'coco/train/a.bmp'],
      ['coco', { split: 'test' }, 'coco/test/a.bmp'],
      ['coco/test/_annotations.coco.json', {}, 'coco/test/a.bmp'],
      ['yolo', {}, 'yolo/train/images/a.bmp'],
      ['yolo', { split: 'valid' }, 'yolo/valid/images/a.bmp'],
      ['yolo/data.yaml', { split: 'valid' }, 'yolo/valid/images/a.bmp'],
      ['yolo', { split: 'test' }, /data\.yaml names no images for test/],
      [
        'nothing',
        {},
        /nothing has no dataset: looked for annotations\.jsonl, .*, train\/ann.*, data\.yaml, .*\. It has readme\.txt\.$/,
      ],
      ['nothing/readme.txt', {}, /looked for a \.jsonl, \.json, \.yaml, \.xml, \.csv or \.tar file/],
      ['none', {}, /The dataset .*none does not exist/],
    ];
    for (const [path, options, expected] of cases) {
      const opened = openDataset(join(folder, path), options).then(async dataset => (await dataset.example(0)).image);
      const outcome = await opened.catch((error: Error) => error.message);
      const where = `${path} ${JSON.stringify(options)}`;
      if (typeof expected === 'string') assert.is(outcome, join(folder, expected), where);
      else assert.match(outcome as string, expected, where);
    }
    const splits = (path: string): Promise<string[]> => datasetSplits(join(folder, path));
    assert.equal(await splits('jsonl'), ['train', 'valid']);
    assert.equal(await splits('jsonl/val/annotations.jsonl'), ['train']);
    assert.equal(await splits('coco'), ['train', 'test']);
    assert.equal(await splits('yolo'), ['train', 'valid']);
    assert.equal(await splits('nothing'), []);
  });
});

test.run();
