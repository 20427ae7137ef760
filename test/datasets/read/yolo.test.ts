import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openDataset } from '../../../src/datasets/open.ts';
import type { DatasetProblem } from '../../../src/datasets/reading.ts';
import { bmp, inFolder } from '../folder.ts';

const image = bmp(20, 10);

test('boxes, polygons and images without objects', async () => {
  const files = {
    'data.yaml': 'names:\n  0: dog\n  4: traffic light\ntrain: images/train\nval: images/val\nnc: 2\n',
    'images/train/b.bmp': image,
    'images/train/a.bmp': image,
    'images/train/sub/c.BMP': image,
    'images/train/notes.txt': '',
    'images/val/v.bmp': image,
    'labels/train/a.txt': '4 0.5 0.5 0.2 0.4\r\n0 0.25 0.25 0.5 0.5\n\n',
    'labels/train/sub/c.txt': '0 0.1 0.1 0.9 0.1 0.9 0.8\n4 0 0 1 0 1 1 0 1\n',
  };
  await inFolder(files, async folder => {
    const file = join(folder, 'data.yaml');
    const dataset = await openDataset(file);
    assert.is(dataset.length, 3);
    assert.equal(await dataset.example(0), {
      image: join(folder, 'images/train/a.bmp'),
      imageSize: { width: 20, height: 10 },
      file: 'a.bmp',
      source: join(folder, 'labels/train/a.txt'),
      targets: [
        {
          task: '<OD>',
          answer: {
            boxes: [
              { label: 'traffic light', box: [8, 3, 12, 7] },
              { label: 'dog', box: [0, 0, 10, 5] },
            ],
          },
        },
      ],
    });
    assert.equal((await dataset.example(1)).targets, [{ task: '<OD>', answer: { boxes: [] } }]);
    assert.is((await dataset.example(1)).source, join(folder, 'images/train/b.bmp'));
    assert.equal((await dataset.example(2)).targets, [
      {
        task: '<OD>',
        answer: {
          boxes: [
            { label: 'dog', box: [2, 1, 18, 8] },
            { label: 'traffic light', box: [0, 0, 20, 10] },
          ],
        },
      },
    ]);
    const masks = await openDataset(file, { tasks: ['<REGION_TO_SEGMENTATION>'] });
    assert.is(masks.length, 1, 'images without outlines are skipped');
    assert.equal((await masks.example(0)).targets[0], {
      task: '<REGION_TO_SEGMENTATION>',
      box: [2, 1, 18, 8],
      answer: { instances: [{ label: '', polygons: [[2, 1, 18, 1, 18, 8]] }] },
    });
    const valid = await openDataset(file, { split: 'valid' });
    assert.is((await valid.example(0)).image, join(folder, 'images/val/v.bmp'));
    let thrown = '';
    await openDataset(file, { split: 'test' }).catch(error => {
      thrown = error.message;
    });
    assert.is(thrown, `${file} names no images for test.`);
  });
});

test('images are found with a path of another machine, with a surplus ../, in lists of files and in several folders', async () => {
  const files = {
    'roboflow.yaml': 'path: /home/someone/set\nnames: [dog]\ntrain: ../train/images\nval: ../valid/images\n',
    'train/images/a.bmp': image,
    'train/labels/a.txt': '0 0.5 0.5 1 1',
    'several.yaml': 'path: train\nnames: [dog]\ntrain: [images, ../extra]\nval: list.txt\n',
    'extra/b.bmp': image,
    'extra/b.txt': '0 0.5 0.5 0.5 0.5',
    'train/list.txt': './images/a.bmp\n',
    'missing.yaml': 'names: [dog]\ntrain: nowhere\n',
  };
  await inFolder(files, async folder => {
    const images = async (name: string, split: 'train' | 'valid'): Promise<unknown[]> => {
      const dataset = await openDataset(join(folder, name), { split });
      return Promise.all(Array.from({ length: dataset.length }, async (_, i) => (await dataset.example(i)).image));
    };
    const [a, b] = [join(folder, 'train/images/a.bmp'), join(folder, 'extra/b.bmp')];
    assert.equal(await images('roboflow.yaml', 'train'), [a]);
    assert.equal(await images('several.yaml', 'train'), [a, b]);
    assert.equal(await images('several.yaml', 'valid'), [a]);
    const inSameFolder = await (await openDataset(join(folder, 'several.yaml'))).example(1);
    assert.equal(
      inSameFolder.targets[0].answer,
      { boxes: [{ label: 'dog', box: [5, 2.5, 15, 7.5] }] },
      'labels next to images',
    );
    const error = await images('missing.yaml', 'train').catch(thrown => thrown.message);
    assert.match(error, /missing\.yaml: nowhere does not exist: looked for .*nowhere\.$/);
  });
});

test('errors name the file and line', async () => {
  const cases: [row: string, message: RegExp][] = [
    ['2 0.5 0.5 0.1 0.1', /The class of "2 0\.5 0\.5 0\.1 0\.1" is not among the 2 names/],
    ['dog 0.5 0.5 0.1 0.1', /is not among the 2 names/],
    ['0 320 0.5 0.1 0.1', /320 is not a fraction of the image's width or height, 0 to 1\. Are these pixels\?/],
    ['0 0.5 x 0.1 0.1', /"x" is not a number/],
    ['0 0.5 0.5 -0.005 0.1', /has a negative width or height/],
    ['0 0.5 0.5 0.1', /The line has 4 numbers, expected class cx cy w h/],
    ['0 0.1 0.1 0.2 0.2 0.3 0.3 0.4', /The line has 8 numbers/],
  ];
  const files = {
    'data.yaml': 'names: [dog, cat]\ntrain: images\n',
    'images/a.bmp': image,
    'labels/a.txt': [...cases.map(([row]) => row), '1 0.5 0.5 1.002 1'].join('\n'),
    'bad.yaml': 'names: [dog\ntrain: images\n',
    'names.yaml': 'names: 3\ntrain: images\n',
    'label.yaml': 'names: ["dog", "a<b"]\ntrain: images\n',
    'list.yaml': '- 1',
  };
  await inFolder(files, async folder => {
    const problems: DatasetProblem[] = [];
    const dataset = await openDataset(join(folder, 'data.yaml'), { onProblem: problem => problems.push(problem) });
    assert.is(problems.length, cases.length, JSON.stringify(problems, null, 1));
    for (const [i, [row, message]] of cases.entries()) {
      assert.is(problems[i].source, `${join(folder, 'labels/a.txt')}:${i + 1}`, row);
      assert.match(problems[i].message, message);
    }
    const { answer } = (await dataset.example(0)).targets[0];
    assert.equal(
      (answer as { boxes: { label: string }[] }).boxes.map(({ label }) => label),
      ['cat'],
    );
    const errors: [name: string, message: RegExp][] = [
      ['data.yaml', /a\.txt:1: The class of/],
      ['bad.yaml', /bad\.yaml cannot be read: .*line 2/],
      ['names.yaml', /names\.yaml: names is 3, expected a list of class names/],
      ['label.yaml', /label\.yaml: names\[1\]: .*"a<b"/],
      ['list.yaml', /list\.yaml is \[1\]/],
      ['none.yaml', /none\.yaml does not exist/],
    ];
    for (const [name, message] of errors) {
      const thrown = await openDataset(join(folder, name)).then(
        () => '',
        (error: Error) => error.message,
      );
      assert.match(thrown, message);
      assert.not.match(thrown, /\n/);
    }
  });
});

test.run();
