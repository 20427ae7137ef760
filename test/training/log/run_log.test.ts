import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { StepRecord, ValidationRecord } from '../../../src/training/log/records.ts';
import { RunLog, readLog } from '../../../src/training/log/run_log.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

const stepRecord = (step: number, loss = 1 / step): StepRecord => ({
  ...{ step, epoch: step / 10, loss, learningRate: 1e-4, gradNorm: 1.5 },
  ...{ samplesPerSecond: 3, secondsLeft: 4, taskLosses: { '<OD>': loss } },
});

const validationRecord = (step: number): ValidationRecord => ({
  ...{ step, epoch: step / 10, loss: 0.5 },
  ...{ metrics: { '<OD>': { mAP: 0.25, 'AP/cat': 0.25 } }, taskLosses: { '<OD>': 0.5 } },
});

/** Logs four steps with a validation after the second, and ends in the middle of a line. */
async function cutRun(): Promise<string> {
  const folder = temporaryFolder();
  const log = await RunLog.open(folder);
  for (const step of [1, 2]) await log.step(stepRecord(step));
  await log.validation(validationRecord(2));
  for (const step of [3, 4]) await log.step(stepRecord(step));
  await log.close();
  appendFileSync(join(folder, 'metrics.jsonl'), '{"kind":"step","step":5,"epo');
  return folder;
}

const linesOf = (folder: string) => readFileSync(join(folder, 'metrics.jsonl'), 'utf8').split('\n').slice(0, -1);
const stepsOf = (folder: string) => linesOf(folder).map(line => JSON.parse(line)).map(({ kind, step }) => [kind, step]); // biome-ignore format: one line

test('each step and validation is a line, written immediately', async () => {
  const folder = temporaryFolder();
  const log = await RunLog.open(folder);
  assert.equal(linesOf(folder), []);
  await log.step(stepRecord(1));
  assert.equal(linesOf(folder).map(line => JSON.parse(line)), [{ kind: 'step', ...stepRecord(1) }]); // biome-ignore format: one line
  await log.validation(validationRecord(1));
  assert.equal(JSON.parse(linesOf(folder)[1]), { kind: 'validation', ...validationRecord(1) });
  await log.close();
});

for (const [what, resumeFromStep, expected] of [
  [
    'all lines are kept',
    4,
    [
      ['step', 1],
      ['step', 2],
      ['validation', 2],
      ['step', 3],
      ['step', 4],
    ],
  ],
  [
    'later lines are dropped',
    3,
    [
      ['step', 1],
      ['step', 2],
      ['validation', 2],
      ['step', 3],
    ],
  ],
  [
    'the validation after the step is kept',
    2,
    [
      ['step', 1],
      ['step', 2],
      ['validation', 2],
    ],
  ],
  ['later validations are dropped', 1, [['step', 1]]],
  ['a new run drops all lines', undefined, []],
] as [string, number | undefined, [string, number][]][]) {
  // biome-ignore format: as a table
  test(`resumed from step ${resumeFromStep}: ${what}, the incomplete line is dropped`, async () => {
    const folder = await cutRun();
    const log = await RunLog.open(folder, { resumeFromStep });
    assert.equal(stepsOf(folder), expected);
    await log.step(stepRecord(9));
    assert.equal(stepsOf(folder), [...expected, ['step', 9]]);
    await log.close();
  });
}

test('invalid lines are skipped', async () => {
  const folder = temporaryFolder();
  const file = join(folder, 'metrics.jsonl');
  const good = JSON.stringify({ kind: 'step', ...stepRecord(1) });
  writeFileSync(file, `\0\0\0\n[1]\n{"step":1}\n${good}\nnull\n{"kind":"step","step":"1"}\n`);
  assert.equal(await readLog(file), [JSON.parse(good)]);
  assert.equal(await readLog(join(folder, 'none.jsonl')), []);
});

test('curves include the steps before resuming', async () => {
  const folder = await cutRun();
  const whole = readFileSync(join(folder, 'curves.svg'), 'utf8');
  await (await RunLog.open(folder, { resumeFromStep: 4 })).close();
  assert.is(readFileSync(join(folder, 'curves.svg'), 'utf8'), whole);
  await (await RunLog.open(folder, { resumeFromStep: 3 })).close();
  assert.is.not(readFileSync(join(folder, 'curves.svg'), 'utf8'), whole);
});

test('a validation redraws the curves; no temporary files remain', async () => {
  const folder = temporaryFolder();
  const log = await RunLog.open(folder);
  await log.step(stepRecord(1));
  assert.not.ok(readdirSync(folder).includes('curves.svg'));
  await log.validation(validationRecord(1));
  assert.match(readFileSync(join(folder, 'curves.svg'), 'utf8'), '>Validation: mAP<');
  await log.close();
  assert.equal(
    readdirSync(folder).map(name => name.replace(/tfevents.*/, 'tfevents')).sort(),
    ['curves.svg', 'events.out.tfevents', 'metrics.csv', 'metrics.jsonl'],
  ); // biome-ignore format: short
});

test('TensorBoard events have the names of all values, grouped by task and class', async () => {
  const folder = await cutRun();
  const [file] = readdirSync(folder).filter(name => name.startsWith('events.'));
  const text = readFileSync(join(folder, file), 'latin1');
  for (const tag of [
    ...['train/loss', 'train/learningRate', 'train/gradNorm', 'train/samplesPerSecond', 'train/od/loss'],
    ...['valid/loss', 'valid/od/loss', 'valid/od/mAP', 'valid/od/AP/cat'],
  ]) {
    // Field 1 of a Summary.Value is its tag, preceded by the tag's length.
    assert.ok(text.includes(`\x0a${String.fromCharCode(tag.length)}${tag}\x15`), tag);
  }
});

test('a NaN loss is null in the file and a gap in the curves', async () => {
  const folder = temporaryFolder();
  const log = await RunLog.open(folder);
  await log.step(stepRecord(1, Number.NaN));
  await log.close();
  assert.is(JSON.parse(linesOf(folder)[0]).loss, null);
  await (await RunLog.open(folder, { resumeFromStep: 1 })).close();
  assert.not.match(readFileSync(join(folder, 'curves.svg'), 'utf8'), 'NaN');
});

test.run();
