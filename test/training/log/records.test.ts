import { test } from 'uvu';
import * as assert from 'uvu/assert';

import { metricsCsv, type StepRecord, type ValidationRecord } from '../../../src/training/log/records.ts';

const step = (number: number, loss: number): StepRecord => ({
  ...{ step: number, epoch: number / 2, loss, learningRate: 0.5, gradNorm: 1.5 },
  ...{ samplesPerSecond: 3, secondsLeft: 4, taskLosses: { '<OD>': loss } },
});
const means = { loss: 0.25, taskLosses: {}, metrics: { '<OD>': { mAP: 0.5, 'AP/red, "large" cat': 0.125 } } };
const validation: ValidationRecord = { step: 2, epoch: 1, ...means };

test('a row for each step, with the validation after it', () => {
  assert.equal(metricsCsv([step(1, 8), step(2, Number.NaN)], [validation]).split('\r\n'), [
    'step,epoch,train/loss,train/learningRate,train/gradNorm,train/samplesPerSecond,train/od/loss,valid/loss,valid/od/mAP,"valid/od/AP/red, ""large"" cat"',
    '1,0.5,8,0.5,1.5,3,8,,,',
    '2,1,,0.5,1.5,3,,0.25,0.5,0.125',
    '',
  ]);
});

test('a validation without a logged step gets its own row, and each dataset its own columns', () => {
  const one = { loss: 1, taskLosses: {}, metrics: {} };
  const csv = metricsCsv([], [{ step: 4, epoch: 2, ...one, datasets: [{ name: 'a', images: 3, ...one }] }]);
  assert.is(csv, 'step,epoch,valid/loss,valid of a/loss\r\n4,2,1,1\r\n');
});

test.run();
