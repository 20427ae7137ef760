import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { npyHeader } from '../../../src/weights/npy.ts';
import { openSafetensors } from '../../../src/weights/safetensors_file.ts';
import { writeRandomCheckpoint } from '../../../tools/random_checkpoint.ts';
import { near } from '../../internals/near.ts';
import { withoutLeaks } from '../../leaks.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2 } from '../florence2.ts';

const pictures = fileURLToPath(new URL('../../../docs/pictures', import.meta.url));
const names = readdirSync(pictures).sort().map(name => join(pictures, name)); // biome-ignore format: one line
const root = temporaryFolder();
const checkpoint = join(root, 'checkpoint');
await writeRandomCheckpoint(checkpoint, { shape: 'tiny', seed: 7 });
const point = 'multi_modal_projector.hook_image_features';

/** These tests are about the command, so one backend is enough. */
const features = (out: string, ...args: string[]) =>
  withoutLeaks(() => florence2('features', '-m', checkpoint, '-b', 'wasm', '-o', join(root, out), ...args));

const readNpy = (name: string): { header: Buffer; values: Float32Array } => {
  const bytes = readFileSync(join(root, name));
  const start = 10 + bytes.readUInt16LE(8);
  return { header: bytes.subarray(0, start), values: new Float32Array(Uint8Array.from(bytes.subarray(start)).buffer) };
};

test('a folder of images is one array with its rows in the printed order', async () => {
  const { code, stdout, stderr } = await features('a.npy', pictures, '--at', point, '--batch', '2');
  assert.is(code, 0, stderr);
  assert.equal(stdout.trimEnd().split('\n'), names);
  const { header, values } = readNpy('a.npy');
  assert.equal([...header], [...npyHeader([3, 80])]);
  assert.is(values.length, 3 * 80);
  const last = await features('last.npy', names[2], '--at', point);
  assert.is(last.code, 0);
  near(values.subarray(2 * 80), readNpy('last.npy').values, 1e-4, 'the last image');
});

test('a safetensors file has one tensor and the paths of the images', async () => {
  const args = ['--at', 'language_model.encoder.**1.hook_resid_post', '-t', 'caption', '--pool', 'none'];
  const { code, stderr } = await features('b.safetensors', join(pictures, '*.jpg'), ...args);
  assert.is(code, 0, stderr);
  const file = await openSafetensors(join(root, 'b.safetensors'));
  await file.close();
  const name = 'language_model.encoder.layers.1.hook_resid_post';
  assert.equal([...file.tensors.keys()], [name]);
  const [images, S, D] = file.tensors.get(name)!.shape;
  assert.equal([images, D], [3, 80]);
  assert.ok(S > 17);
  assert.equal(JSON.parse(file.metadata.images), names);
  assert.equal([file.metadata.at, file.metadata.task, file.metadata.pool], [name, '<CAPTION>', 'none']);
});

test('a damaged image ends the run, and no file is left', async () => {
  const folder = join(root, 'broken');
  mkdirSync(folder);
  for (const name of ['a.jpg', 'c.jpg']) copyFileSync(names[0], join(folder, name));
  writeFileSync(join(folder, 'b.jpg'), readFileSync(names[0]).subarray(0, 2000));
  const { code, stdout, stderr } = await features('out/broken.npy', folder, '--at', point);
  assert.is(code, 1);
  assert.is(stdout, '');
  assert.match(stderr, /\nflorence2: .*b\.jpg is a damaged or truncated JPEG image/);
  assert.equal(existsSync(join(root, 'out')) ? readdirSync(join(root, 'out')) : [], []);
});

test('--on-error skip writes NaN for the images that fail', async () => {
  const folder = join(root, 'some');
  mkdirSync(folder);
  for (const name of ['b.jpg', 'd.jpg']) copyFileSync(names[0], join(folder, name));
  for (const name of ['a.jpg', 'c.jpg']) writeFileSync(join(folder, name), readFileSync(names[0]).subarray(0, 2000));
  const { code, stdout, stderr } = await features(
    'some.npy',
    folder,
    '--at',
    point,
    '--on-error',
    'skip',
    '--batch',
    '3',
  );
  assert.is(code, 1);
  assert.is(stdout.trim().split('\n').length, 4, 'all paths, in row order');
  assert.match(stderr, /a\.jpg is a damaged or truncated JPEG image/);
  assert.match(stderr, /^florence2: 2 of 4 images failed\.$/m);
  const { values } = readNpy('some.npy');
  const rows = [0, 1, 2, 3].map(row => values.subarray((row * values.length) / 4, ((row + 1) * values.length) / 4));
  assert.equal(
    rows.map(row => row.every(Number.isNaN)),
    [true, false, true, false],
  );
  assert.equal(rows[1], rows[3]);
});

test('answers of different lengths need pooling', async () => {
  const args = [names[0], names[1], '--at', 'language_model.decoder.layers.1.hook_resid_post', '-t', 'caption'];
  const whole = await features('c.npy', ...args, '--pool', 'none');
  assert.is(whole.code, 1);
  assert.match(whole.stderr, /has shape \[\d+,80\].*use --pool mean/);
  assert.not.ok(existsSync(join(root, 'c.npy')));
  assert.is((await features('c.npy', ...args)).code, 0);
  assert.equal([...readNpy('c.npy').header], [...npyHeader([2, 80])]);
});

for (const [what, args, message, out = 'd.npy'] of [
  ['an unknown file extension', ['--at', point], /x\.csv: the file name must end in \.npy or \.safetensors/, 'x.csv'],
  ['an unknown task', ['--at', point, '-t', 'captoin'], /captoin/],
  ['a task without its text', ['--at', point, '-t', 'grounding'], /needs a text/],
  ['a text without a task', ['--at', point, '--text', 'car'], /name the task with --task/],
  ['a task and a prompt', ['--at', point, '-t', 'od', '-p', 'What?'], /not both/],
  ['no hook point', [], /florence2 features needs --at <name>\./],
] as [string, string[], RegExp, string?][]) {
  test(`${what} is a usage error of one line`, async () => {
    const { code, stdout, stderr } = await features(out, names[0], ...args);
    assert.is(code, 2);
    assert.is(stdout, '');
    assert.match(stderr, message);
    assert.is(stderr.trimEnd().split('\n').length, 1, stderr);
  });
}

test.run();
