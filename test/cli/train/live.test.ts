import { Writable } from 'node:stream';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { duration } from '../../../src/cli/print/numbers.ts';
import { LiveLine, stepLine, validationLine } from '../../../src/cli/train/live.ts';
import type { StepRecord, ValidationRecord } from '../../../src/training/log/records.ts';

const stepRecord = (step: number): StepRecord => ({
  ...{ step, epoch: 1.25, loss: 0.41234, learningRate: 9.5e-5, gradNorm: 1, samplesPerSecond: 3.2345 },
  ...{ secondsLeft: 4321, taskLosses: {} },
});

const validation: ValidationRecord = {
  ...{ step: 500, epoch: 2, loss: 0.3861, taskLosses: {} },
  metrics: { '<OD>': { mAP: 0.5123, mAP50: 0.7 }, '<VQA>': { editSimilarity: 0.731, exactMatch: 0.5 }, '<OCR>': { count: 0 } },
}; // biome-ignore format: short

/** A stream that records what is written. `isTTY`: it is a terminal. */
function keeper(isTTY: boolean) {
  const written: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written.push(String(chunk));
      done();
    },
  });
  return { written, stream: Object.assign(stream, { isTTY, columns: 120 }) as unknown as NodeJS.WriteStream };
}

test('the line of a step', () => {
  const expected = 'epoch 1.25  step 500  loss 0.412  rate 9.5e-5  3.23 samples/s  1 h 12 min left';
  assert.is(stepLine(stepRecord(500)), expected);
});

test('the line of a validation shows the main metric of each task', () => {
  const expected = 'validation at step 500: loss 0.386  od mAP 0.512  <VQA> editSimilarity 0.731';
  assert.is(validationLine(validation), expected);
});

for (const [seconds, text] of [
  [0, '0 s'],
  [7.6, '8 s'],
  [59.6, '1 min 0 s'],
  [200, '3 min 20 s'],
  [3599.7, '1 h 0 min'],
  [4321, '1 h 12 min'],
  [86_399, '1 d 0 h'],
  [100_000, '1 d 4 h'],
] as [number, string][]) {
  test(`${seconds} seconds are ${text}`, () => assert.is(duration(seconds), text));
}

test('without a terminal, a line is written every few seconds and at each validation', () => {
  const { stream, written } = keeper(false);
  const live = new LiveLine({ stream, secondsBetweenLines: 3600 });
  for (const step of [1, 2, 3]) live.step(stepRecord(step));
  live.validation(validation);
  live.stop();
  assert.equal(written, [`${stepLine(stepRecord(1))}\n`, `${validationLine(validation)}\n`]);
});

test('without a pause, each step writes a line', () => {
  const { stream, written } = keeper(false);
  const live = new LiveLine({ stream, secondsBetweenLines: 0 });
  for (const step of [1, 2, 3]) live.step(stepRecord(step));
  assert.is(written.length, 3);
});

test('on a terminal, one line is updated and validations stay above it', () => {
  const { stream, written } = keeper(true);
  const live = new LiveLine({ stream });
  live.step(stepRecord(1));
  live.validation(validation);
  live.step(stepRecord(2));
  live.stop();
  const text = written.join('');
  assert.is(text.split('\n').length, 2, 'only the validation ends with a line feed');
  const places = [stepLine(stepRecord(1)), `${validationLine(validation)}\n`, stepLine(stepRecord(2))].map(line => text.indexOf(line)); // biome-ignore format: one line
  assert.ok(0 <= places[0] && places[0] < places[1] && places[1] < places[2], `${places}`);
  assert.ok(text.lastIndexOf('\x1b[?25h') > places[2], 'the cursor is shown again');
});

test.run();
