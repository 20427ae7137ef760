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
const model = join(folder, 'model');
cpSync(await tinyCheckpoint(), model, { recursive: true });
const data = join(folder, 'data', 'valid');
mkdirSync(data, { recursive: true });
cpSync(street, join(data, 'street.jpg'));
const line = { image: 'street.jpg', prefix: '<CAPTION>', suffix: 'a green car' };
writeFileSync(join(data, 'annotations.jsonl'), `${JSON.stringify(line)}\n`);

/** These tests are about the command, so one backend is enough. */
const run = (...args: string[]) =>
  florence2(...args, '-m', model, '-b', 'wasm', '--beams', '1', '--max-new-tokens', '4');

test('writes the calibration beside the model, and later runs use it', async () => {
  const { code, stdout, stderr } = await run('calibrate', '-d', join(folder, 'data'));
  assert.is(code, 0, stderr);
  assert.match(stdout, /^<CAPTION> +1 answers, 0\.00 right, calibration error \d\.\d\d\n$/);
  const { '<CAPTION>': curve } = JSON.parse(readFileSync(join(model, 'calibration.json'), 'utf8'));
  assert.equal(curve.calibrated, [0]);
  const [answer] = (await run('run', street, '-t', 'caption', '--json')).stdout.trim().split('\n').map(text => JSON.parse(text)); // biome-ignore format: one line
  assert.is(answer.confidence, 0, 'no answer of this model was right');
  assert.is(answer.rawConfidence, curve.raw[0]);
});

test('--out names another folder', async () => {
  const out = join(folder, 'out');
  const { code, stderr } = await run('calibrate', '-d', join(folder, 'data'), '--out', out);
  assert.is(code, 0, stderr);
  assert.ok(readFileSync(join(out, 'calibration.json'), 'utf8').startsWith('{"<CAPTION>":'));
});

test('--on-error skip leaves out images that fail, counts them and exits with 1', async () => {
  const mixed = join(data, 'mixed.jsonl');
  const lines = [line, { ...line, image: 'missing.jpg' }];
  writeFileSync(mixed, lines.map(row => JSON.stringify(row)).join('\n'));
  const out = join(folder, 'mixed');
  const stopped = await run('calibrate', '-d', mixed, '--out', out);
  assert.is(stopped.code, 1);
  assert.match(stopped.stderr, /missing\.jpg does not exist/);
  const { code, stdout, stderr } = await run('calibrate', '-d', mixed, '--out', out, '--on-error', 'skip');
  assert.is(code, 1);
  assert.match(stdout, /^<CAPTION> +1 answers/);
  assert.match(stderr, /mixed\.jsonl:2: .*missing\.jpg does not exist/);
  assert.match(stderr, /1 of 2 images failed/);
});

test.run();
