import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findBuilds } from '../../src/runtime/builds.ts';
import { writeRandomCheckpoint } from '../../tools/random_checkpoint.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const street = fileURLToPath(new URL('../../docs/pictures/street.jpg', import.meta.url));
const printPeak = 'data:text/javascript,process.on("exit",()=>console.error("peak",process.resourceUsage().maxRSS))';
/** What running TypeScript takes: the installed command needs that much less. */
const TSX = 0.15e9;

const onTensorflow = findBuilds().length > 0 ? test : test.skip;

onTensorflow('LoRA on the base shape with the defaults stays under 2 GB', async () => {
  const folder = temporaryFolder();
  const [model, data] = [join(folder, 'base'), join(folder, 'data')];
  await writeRandomCheckpoint(model, { shape: 'base', dtype: 'F32' });
  mkdirSync(data);
  copyFileSync(street, join(data, 'street.jpg'));
  const example = {
    image: 'street.jpg',
    prefix: '<DETAILED_CAPTION>',
    suffix: 'A green car in front of a yellow house.',
  };
  writeFileSync(join(data, 'annotations.jsonl'), JSON.stringify(example));
  const args = ['train', '--data', data, '--model', model, '--lora', '--out', join(folder, 'run'), '--max-steps', '2'];
  const flags = ['--import', 'tsx', '--import', printPeak, main, ...args, '--epochs', '2', '--backend', 'tensorflow'];
  const { status, stderr } = spawnSync(process.execPath, flags, { encoding: 'utf8' });
  assert.is(status, 0, stderr);
  const peak = Number(/^peak (\d+)$/m.exec(stderr)?.[1]) * 1024;
  assert.ok(peak > 1.2e9, `the weights alone take more than ${peak} bytes`);
  assert.ok(peak < 2e9 + TSX, `${peak} bytes`);
});

test.run();
