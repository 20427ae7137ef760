import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataset } from '../../src/datasets/example.ts';
import { Florence2Error } from '../../src/errors.ts';
import { withoutLeaks } from '../backend.ts';
import { withFs } from '../files/replaced_fs.ts';
import { dataset, learnerCheckpoint, logic, newFolder, train } from './learner.ts';

const folder = await learnerCheckpoint();

/** A dataset in which the images of some examples do not exist. */
function withMissing(length: number, missing: number[]): Dataset {
  const whole = dataset(length, { name: 'data' });
  return {
    ...whole,
    example: async index => {
      const example = await whole.example(index);
      return missing.includes(index) ? { ...example, image: `/nowhere/${index}.png` } : example;
    },
  };
}

/** Runs a program in which writing below a folder fails because the disk is full. */
function whileFull<T>(where: RegExp, program: () => Promise<T>): Promise<T> {
  const { writeFile, open } = fs;
  const fail = (path: unknown) => {
    if (where.test(String(path))) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' });
  };
  const full: Partial<typeof fs> = {
    writeFile: async (path, ...rest) => {
      fail(path);
      return writeFile(path, ...rest);
    },
    open: async (path, flags, mode) => {
      if (flags !== 'r') fail(path);
      return open(path, flags, mode);
    },
  };
  return withFs(full, program);
}

const stateOf = (output: string) => JSON.parse(readFileSync(join(output, 'latest/training_state.json'), 'utf8'));

logic('an example that cannot be read ends the run, which is saved up to there', () =>
  withoutLeaks(async () => {
    const output = newFolder();
    let steps = 0;
    const onStep = () => steps++;
    const options = { train: withMissing(6, [4]), lora: { r: 2 }, output, onStep };
    const error = await train(folder, options).catch((error: Error) => error);
    assert.instance(error, Florence2Error);
    assert.match((error as Error).message, /^data:5: .*\/nowhere\/4\.png/);
    assert.ok(steps > 0, 'the order of this seed has another example first');
    assert.is(stateOf(output).step, steps);
  }),
);

logic('skipBad leaves out examples that cannot be read, and lists each once', () =>
  withoutLeaks(async () => {
    const options = { lora: { r: 2 }, epochs: 2, skipBad: true, validateEvery: 1 };
    const run = await train(folder, { ...options, train: withMissing(4, [1, 2]), valid: withMissing(2, [0]) });
    run.florence.dispose();
    assert.is(run.steps, 8);
    assert.is(run.losses.length, 4);
    const messages = [...run.skipped].sort();
    assert.is(messages.length, 3);
    for (const [i, source] of ['data:1', 'data:2', 'data:3'].entries()) {
      assert.ok(messages[i].startsWith(`${source}: `), messages[i]);
    }
  }),
);

logic('a full disk ends the caching of feature maps with one warning, not the run', () =>
  withoutLeaks(async () => {
    const warnings: string[] = [];
    const output = newFolder();
    const options = { train: dataset(3), lora: { r: 2 }, epochs: 2, featureCache: 'disk' as const, output };
    const run = await whileFull(/\/maps\//, () =>
      train(folder, { ...options, onWarning: message => warnings.push(message) }),
    );
    run.florence.dispose();
    assert.is(run.steps, 6);
    assert.is(warnings.length, 1, warnings.join('\n'));
    assert.match(
      warnings[0],
      /maps\/[0-9a-f]{64}\.f32 cannot be written: the disk is full\. Feature maps are no longer/,
    );
  }),
);

logic('a save for which the disk has no room leaves the one before and says so', () =>
  withoutLeaks(async () => {
    const output = newFolder();
    const options = { train: dataset(3), lora: { r: 2 }, output, saveEvery: 1 };
    (await train(folder, { ...options, maxSteps: 1 })).florence.dispose();
    const more = { ...options, resume: true };
    const error = await whileFull(/\.latest\.part/, () => train(folder, more).catch((error: Error) => error));
    assert.match(
      (error as Error).message,
      /cannot be written: the disk is full\. The previous save in .*latest is kept\.$/,
    );
    assert.is(stateOf(output).step, 1);
    const rest = await train(folder, more);
    assert.is(rest.steps, 3);
    rest.florence.dispose();
  }),
);

logic('what a killed run left unfinished is removed', () =>
  withoutLeaks(async () => {
    const output = newFolder();
    mkdirSync(output);
    const [dead, own] = [999_999_999, process.pid].map(pid => `curves.svg.${pid}-abc.incomplete`);
    for (const name of [dead, own]) writeFileSync(join(output, name), '');
    (await train(folder, { train: dataset(1), lora: { r: 2 }, output })).florence.dispose();
    assert.ok(!existsSync(join(output, dead)), readdirSync(output).join(' '));
    assert.ok(existsSync(join(output, own)), 'files of running processes stay');
  }),
);

test.run();
