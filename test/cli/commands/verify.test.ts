/** Tests `florence2 verify` with checkpoints that always return the same answer, also from a local hub server. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HubServer } from '../../checkpoint/hub/hub_server.ts';
import { writeAnsweringCheckpoint } from '../../internals/answering_checkpoint.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2, type Outcome } from '../florence2.ts';

const folder = temporaryFolder();
const images = join(folder, 'images');
mkdirSync(images);
const picture = await sharp({ create: { width: 640, height: 480, channels: 3, background: 'teal' } })
  .jpeg()
  .toBuffer();
writeFileSync(join(images, 'car.jpg'), picture);

async function checkpoint(name: string, answer: string): Promise<string> {
  const path = join(folder, name);
  mkdirSync(path);
  await writeAnsweringCheckpoint(path, answer);
  return path;
}

const caption = 'A green car parked in front of a yellow building.';
const captioner = await checkpoint('captioner', caption);
// The published boxes of Florence-2-base for the image of a car, as bins.
const detector = await checkpoint(
  'detector',
  'car<loc_53><loc_333><loc_933><loc_774>door handle<loc_425><loc_503><loc_474><loc_515>wheel<loc_709><loc_576><loc_865><loc_772><loc_150><loc_584><loc_309><loc_773>',
);

/** These tests are about the command, so one backend is enough. */
async function verify(model: string, ...args: string[]): Promise<Outcome> {
  const before = tf.memory().numTensors;
  const outcome = await florence2('verify', model, '-b', 'wasm', ...args);
  assert.is(tf.memory().numTensors, before, 'tensors leaked');
  return outcome;
}
const fromFolder = ['--images', images];
const lastLine = ({ stdout }: Outcome) => stdout.trim().split('\n').at(-1);

/** Writes a file of cases for the model `stand-in`, each with the given fields. Returns the flags to use it. */
let files = 0;
function cases(...list: Record<string, unknown>[]): string[] {
  const path = join(folder, `cases-${files++}.json`);
  const image = { url: 'http://localhost:1/car.jpg', size: [640, 480] };
  const standIn = list.map(entry => ({ model: 'owner/stand-in', image: 'car', max_new_tokens: 40, ...entry }));
  writeFileSync(path, JSON.stringify({ images: { car: image }, cases: standIn }));
  return ['--cases', path, '--as', 'stand-in', ...fromFolder];
}

test('the published answers: one is equal, three differ', async () => {
  const outcome = await verify(captioner, '--as', 'microsoft/Florence-2-large', ...fromFolder);
  assert.match(outcome.stderr, /^Backend wasm .*\n$/);
  assert.is(outcome.code, 1);
  assert.is(lastLine(outcome), '1 of 4 published answers equal');
  assert.match(outcome.stdout, `✓ <CAPTION> (car)\n    expected  ${caption}\n    got       ${caption}\n`);
  assert.match(outcome.stdout, /✗ <OD> \(car\)\n {4}expected {2}car \[34\.24, 160\.08, 597\.44, 371\.76\]; door \[/);
  assert.match(outcome.stdout, /0 boxes, expected 4/);
});

test('the published boxes, to the bin', async () => {
  const { stdout } = await verify(
    detector,
    '--as',
    'Florence-2-base',
    ...fromFolder,
    '--json',
    '--cases',
    publishedCar(),
  );
  const rows = stdout.trim().split('\n').map(line => JSON.parse(line)); // biome-ignore format: one line
  assert.equal(
    rows.map(({ task, equal }) => [task, equal]),
    [['<CAPTION>', false], ['<DETAILED_CAPTION>', false], ['<OD>', true]], // biome-ignore format: one line
  );
});

/** Writes a file of the published answers about the car. Returns its path. */
function publishedCar(): string {
  const path = join(folder, 'car.json');
  const all = JSON.parse(readFileSync(new URL('../../reference/published.json', import.meta.url), 'utf8'));
  writeFileSync(path, JSON.stringify({ ...all, cases: all.cases.filter((c: { image: string }) => c.image === 'car') }));
  return path;
}

const boxes = [[34.24, 160.08, 597.44, 371.76], [272.32, 241.68, 303.68, 247.44], [454.08, 276.72, 553.92, 370.8], [96.32, 280.56, 198.08, 371.28]]; // biome-ignore format: one line
const od = { task: '<OD>', labels: ['car', 'door handle', 'wheel', 'wheel'], bboxes: boxes };
const moved = (bins: number) => boxes.map(([x1, ...rest], i) => [i === 1 ? x1 + bins * 0.64 : x1, ...rest]);
const note = 'one published run has others: allow one bin';

/** A case, and the reported difference; undefined if the answer is equal. */
type Asked = [what: string, entry: Record<string, unknown>, difference?: RegExp];
const captions: Asked[] = [
  ['the same text', { text: caption }],
  ['another text', { text: `${caption} ` }, /^the text differs$/],
  ['the ids of its prompt', { text: caption, input_ids: [0, 2264, 473, 5, 2274, 6190, 116, 2] }],
  ['other ids', { text: caption, input_ids: [0, 2264, 2] }, /ids are 0,2264,473,5,2274,6190,116,2, expected 0,2264,2$/],
];
const capital = { labels: ['Car', 'door handle', 'wheel', 'wheel'] };
const open = { task: '<OPEN_VOCABULARY_DETECTION>', input: 'a car', labels: undefined, bboxes_labels: od.labels };
const detections: Asked[] = [
  ['the same boxes', {}],
  ['a box one bin away', { bboxes: moved(1) }, /^box 2 \("door handle"\) is off by 1 bins$/],
  ['a box one bin away, where the note allows it', { bboxes: moved(1), note }],
  ['a box two bins away', { bboxes: moved(2), note }, /^box 2 .* is off by 2 bins, 1 is allowed$/],
  ['another label', capital, /^box 1 is labelled "car", expected "Car"$/],
  ['another letter, where the note says so', { ...capital, note: 'label as published has a capital C' }],
  ['a box too few', { labels: ['car'], bboxes: boxes.slice(0, 1) }, /^4 boxes, expected 1$/],
  ['no polygons', { ...open, polygons: [] }],
  ['a polygon', { ...open, polygons: [[]] }, /^0 objects as polygons, expected 1$/],
];

for (const [model, asked, common] of [
  [captioner, captions, { task: '<CAPTION>' }],
  [detector, detections, od],
] as [string, Asked[], Record<string, unknown>][]) {
  const entries = asked.map(([, entry]) => ({ ...common, ...entry }));

  test(`${basename(model)}: accepts and refuses what it should`, async () => {
    const { stdout, code } = await verify(model, '--json', ...cases(...entries));
    const rows = stdout.trim().split('\n').map(line => JSON.parse(line)); // biome-ignore format: one line
    assert.is(rows.length, asked.length);
    for (const [i, [what, , difference]] of asked.entries()) {
      assert.is(rows[i].equal, difference === undefined, `${what}: ${rows[i].differences}`);
      if (difference) assert.match(rows[i].differences.join(), difference, what);
    }
    assert.is(code, 1);
  });

  test(`${basename(model)}: exit code 0 when every answer is equal`, async () => {
    const equal = entries.filter((_, i) => asked[i][2] === undefined);
    const outcome = await verify(model, ...cases(...equal));
    assert.is(lastLine(outcome), `${equal.length} of ${equal.length} published answers equal`);
    assert.is(outcome.code, 0);
  });
}

test('downloads model and images', async () => {
  const served = Object.fromEntries(readdirSync(captioner).map(name => [name, new Uint8Array(readFileSync(join(captioner, name)))])); // biome-ignore format: one line
  const hub = new HubServer({ ...served, 'car.jpg': new Uint8Array(picture) });
  const url = await hub.start();
  const before = { ...process.env };
  Object.assign(process.env, { HF_ENDPOINT: url, HF_HOME: join(folder, 'cache') });
  try {
    const path = join(folder, 'hub-cases.json');
    const image = { url: `${url}/${hub.repo}/resolve/main/car.jpg`, size: [640, 480] };
    const known = { model: hub.repo, image: 'car', task: '<CAPTION>', text: caption, max_new_tokens: 40 };
    writeFileSync(path, JSON.stringify({ images: { car: image }, cases: [known] }));
    const outcome = await verify(hub.repo, '--cases', path);
    assert.is(lastLine(outcome), '1 of 1 published answers equal');
    assert.is(outcome.code, 0);
    assert.ok(hub.requests.some(request => request.endsWith('/car.jpg')));

    const lost = { car: { ...image, url: `${url}/nowhere/car.jpg` } };
    writeFileSync(path, JSON.stringify({ images: lost, cases: [known] }));
    const failed = await verify(hub.repo, '--cases', path);
    assert.is(failed.code, 1);
    assert.match(
      failed.stderr,
      /nowhere\/car\.jpg cannot be read: .* --images reads the images from a folder instead\.\n$/,
    );
  } finally {
    for (const name of ['HF_ENDPOINT', 'HF_HOME']) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
    await hub.stop();
  }
});

test('an image of another size than the published one is an error', async () => {
  const path = join(folder, 'small.json');
  const known = { model: 'm', image: 'car', task: '<CAPTION>', text: caption };
  writeFileSync(
    path,
    JSON.stringify({ images: { car: { url: 'http://x/car.jpg', size: [320, 240] } }, cases: [known] }),
  );
  const { code, stderr } = await verify(captioner, '--as', 'm', '--cases', path, ...fromFolder);
  assert.is(code, 1);
  assert.match(stderr, /The image "car" is not the published one: it has 640×480 pixels, the published one 320×240\./);
});

for (const [what, args, code, message] of [
  ['a model without published answers', [captioner], 2, /No answers of .*captioner are published.*--as/],
  ['a missing file of cases', [captioner, '--cases', join(folder, 'none.json')], 1, /none\.json does not exist/], // biome-ignore format: one line
  ['a missing model', [join(folder, 'Florence-2-base')], 1, /Florence-2-base" is not a folder/],
  ['a folder without the images', [captioner, '--as', 'Florence-2-base', '--images', folder], 1, /car\.jpg/],
] as [string, string[], number, RegExp][]) {
  test(`${what} is an error of one line`, async () => {
    const outcome = await verify(args[0], ...args.slice(1));
    assert.is(outcome.code, code);
    const errors = outcome.stderr.trim().split('\n').filter(line => !line.startsWith('Backend ')); // biome-ignore format: one line
    assert.is(errors.length, 1, outcome.stderr);
    assert.match(errors[0], message);
  });
}

test.run();
