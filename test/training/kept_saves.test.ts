import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { KeptSaves } from '../../src/training/kept_saves.ts';
import { withoutLeaks } from '../backend.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { dataset, learnerCheckpoint, logic, newFolder, train } from './learner.ts';

const savesOf = (output: string): string[] => readdirSync(output).filter(name => /^step-|^latest$/.test(name)).sort(); // biome-ignore format: one line

logic('the saves before the last one are kept, and a run continues from any of them', () =>
  withoutLeaks(async () => {
    const [folder, output] = [await learnerCheckpoint(), newFolder()];
    const options = { train: dataset(2), epochs: 3, saveEvery: 1, lora: { r: 2 }, output, keepLast: 3 };
    (await train(folder, options)).florence.dispose();
    assert.equal(savesOf(output), ['latest', 'step-000004', 'step-000005']);
    rmSync(join(output, 'latest'), { recursive: true });
    renameSync(join(output, 'step-000004'), join(output, 'latest'));
    rmSync(join(output, 'step-000005'), { recursive: true });
    const { florence, steps } = await train(folder, { ...options, resume: true });
    florence.dispose();
    assert.is(steps, 6);
    assert.equal(savesOf(output), ['latest', 'step-000004', 'step-000005']);
  }),
);

logic('a save that a killed run did not remove is removed when the run is resumed', () =>
  withoutLeaks(async () => {
    const [folder, output] = [await learnerCheckpoint(), newFolder()];
    const options = { train: dataset(2), epochs: 2, saveEvery: 1, lora: { r: 2 }, output, keepLast: 2 };
    (await train(folder, options)).florence.dispose();
    mkdirSync(join(output, 'step-000002'));
    (await train(folder, { ...options, resume: true })).florence.dispose();
    assert.equal(savesOf(output), ['latest', 'step-000003']);
  }),
);

test('the newest save takes the place of a latest/ that is missing', async () => {
  const folder = temporaryFolder();
  for (const name of ['step-000009', 'step-000120', 'step-1000000', 'steps']) mkdirSync(join(folder, name));
  const latest = join(folder, 'latest');
  await new KeptSaves(folder, 2).recover(latest);
  assert.ok(existsSync(latest));
  assert.equal(readdirSync(folder).sort(), ['latest', 'step-000009', 'step-000120', 'steps']);
  await new KeptSaves(folder, 2).recover(latest);
  assert.equal(readdirSync(folder).length, 4, 'a latest/ that is there stays');
});

test.run();
