import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { tinyCheckpoint } from '../../tiny_checkpoint.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2 } from '../florence2.ts';

const street = fileURLToPath(new URL('../../../docs/pictures/street.jpg', import.meta.url));
const folder = temporaryFolder();
const data = join(folder, 'data');
for (const split of ['train', 'test']) {
  mkdirSync(join(data, split), { recursive: true });
  cpSync(street, join(data, split, 'street.jpg'));
}
const line = { image: 'street.jpg', prefix: '<CAPTION>', suffix: 'a green car' };
const boxes = { image: 'street.jpg', task: '<OD>', answer: { boxes: [{ label: '=car, "old"', box: [1, 1, 90, 90] }] } };
writeFileSync(join(data, 'train', 'annotations.jsonl'), `${JSON.stringify(line)}\n`);
writeFileSync(join(data, 'test', 'annotations.jsonl'), [line, boxes].map(row => JSON.stringify(row)).join('\n'));

const model = await tinyCheckpoint();
const run = (...args: string[]) =>
  florence2('eval', ...args, '-m', model, '-b', 'wasm', '--beams', '1', '--max-new-tokens', '4');

test('prints the metrics of the split test, and writes them with those of classes', async () => {
  const out = join(folder, 'out');
  const { code, stdout, stderr } = await run(data, '--out', out);
  assert.is(code, 0, stderr);
  assert.match(stdout, /^<CAPTION>, 1 answers\n( {2}\S+ +-?\d+\.\d{4}\n)*<OD>, 1 answers\n/);
  assert.match(stdout, /^ {2}CIDEr-D +0\.0000$/m);
  assert.match(stdout, /^ {2}mAP +0\.0000$/m);
  const { tasks, split } = JSON.parse(readFileSync(join(out, 'metrics.json'), 'utf8'));
  assert.is(split, 'test');
  assert.is(tasks['<OD>'].classes[0].label, '=car, "old"');
  const rows = readFileSync(join(out, 'metrics.csv'), 'utf8').split('\n');
  assert.is(rows[0], 'task,class,metric,value');
  assert.ok(rows.includes(`<OD>,"'=car, ""old""",truths,1`), rows.join('\n'));
});

test('--predictions compares any model with a dataset, without loading one', async () => {
  const { code, stdout, stderr } = await florence2('eval', data, '--predictions', data);
  assert.is(code, 0, stderr);
  assert.not.match(stderr, /Backend/);
  assert.match(stdout, /^<CAPTION>, 1 answers\n {2}editSimilarity +1\.0000\n {2}exactMatch +1\.0000$/m);
  assert.match(stdout, /^<OD>, 1 answers\n {2}mAP +1\.0000$/m);
  const absent = await florence2('eval', data, '--predictions', join(folder, 'none.json'));
  assert.equal([absent.code, absent.stderr], [1, `florence2: ${join(folder, 'none.json')} does not exist.\n`]);
  const both = await florence2('eval', data, '--predictions', data, '-m', model);
  assert.is(both.code, 2, both.stderr);
  const results = join(folder, 'results.json');
  writeFileSync(results, '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]');
  const other = await florence2('eval', data, '--predictions', results);
  assert.match(other.stderr, /results\.json is a list of COCO results, but \S+ is a jsonl dataset\.$/m);
});

test('--image-root is where the images are', async () => {
  const apart = join(folder, 'apart.jsonl');
  writeFileSync(apart, JSON.stringify({ ...line, image: 'street.jpg' }));
  const without = await run(apart);
  assert.equal([without.code, /street\.jpg does not exist/.test(without.stderr)], [1, true]);
  const { code, stderr } = await run(apart, '--image-root', join(data, 'test'));
  assert.is(code, 0, stderr);
});

test('--split and --task choose what is measured', async () => {
  const train = await run(data, '--split', 'train');
  assert.is(train.code, 0, train.stderr);
  assert.not.match(train.stdout, /<OD>/);
  const objects = await run(data, '--task', 'od');
  assert.is(objects.code, 0, objects.stderr);
  assert.not.match(objects.stdout, /<CAPTION>/);
});

test('--on-error skip leaves out images that fail, counts them and exits with 1', async () => {
  const mixed = join(data, 'test', 'mixed.jsonl');
  writeFileSync(mixed, [line, { ...line, image: 'missing.jpg' }].map(row => JSON.stringify(row)).join('\n'));
  const { code, stdout, stderr } = await run(mixed, '--on-error', 'skip');
  assert.is(code, 1);
  assert.match(stdout, /^<CAPTION>, 1 answers/);
  assert.match(stderr, /1 of 2 images failed/);
});

test('--benchmark prints its figure beside the published ones', async () => {
  const coco = join(folder, 'coco');
  mkdirSync(join(coco, 'val2014'), { recursive: true });
  cpSync(street, join(coco, 'val2014', 'street.jpg'));
  const images = [{ filepath: 'val2014', filename: 'street.jpg', split: 'test', sentences: [{ raw: 'A car.' }] }];
  writeFileSync(join(coco, 'dataset_coco.json'), JSON.stringify({ images }));
  const { code, stdout, stderr } = await run('--benchmark', 'coco-caption', '--data', coco, '--out', join(folder, 'b'));
  assert.is(code, 0, stderr);
  const paper = 'base 133.0, large 135.6, base-ft 140.0, large-ft 143.3';
  assert.is(stdout, `coco-caption Karpathy test, 1 questions\n  CIDEr    0.0  (paper: ${paper})\n`);
  const { benchmark, splits } = JSON.parse(readFileSync(join(folder, 'b', 'benchmark.json'), 'utf8'));
  assert.equal([benchmark, splits[0].metrics], ['coco-caption', { CIDEr: 0 }]);
});

const wrong: [args: string[], message: RegExp][] = [
  [['--benchmark', 'textvqa'], /--benchmark needs --data/],
  [[data, '--benchmark', 'textvqa', '--data', data], /without another dataset/],
  [['--data', data], /Name a dataset, or --benchmark with --data/],
];

for (const [args, message] of wrong) {
  test(`eval ${args.map(arg => arg.replace(folder, '')).join(' ')} is refused`, async () => {
    const { code, stderr } = await run(...args);
    assert.is(code, 2);
    assert.match(stderr, message);
  });
}

test.run();
