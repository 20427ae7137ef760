import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataset } from '../../src/datasets/example.ts';
import { Pace } from '../../src/training/log/pace.ts';
import type { StepRecord, ValidationRecord } from '../../src/training/log/records.ts';
import type { TrainerOptions } from '../../src/training/options.ts';
import { withoutLeaks } from '../backend.ts';
import { dataset, learnerCheckpoint, logic, newFolder, train, trainOn, withLearner } from './learner.ts';

const folder = await learnerCheckpoint();

/** Options of a run that changes no parameter: the first step of a warm-up has a learning rate of 0. */
const still = { train: dataset(1), maxSteps: 1, warmupSteps: 1, lora: { r: 2 } };

/** Runs one step that changes nothing, and returns its record and that of the validation after it. */
async function measure(options: Partial<TrainerOptions>): Promise<{ step: StepRecord; validation: ValidationRecord }> {
  return withLearner(folder, async florence => {
    let step: StepRecord;
    let validation: ValidationRecord;
    await trainOn(florence, {
      ...{ ...still, ...options },
      onStep: record => (step = record),
      onValidation: record => (validation = record),
    });
    return { step: step!, validation: validation! };
  });
}

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(b));

for (const locationWeight of [1, 0.3, 0]) {
  logic(`the validation loss is that of training: locations weigh ${locationWeight}`, async () => {
    const all = dataset(3, { targets: 3 });
    const { step, validation } = await measure({ train: all, valid: all, batchSize: 3, locationWeight });
    assert.ok(near(validation.loss, step.loss), `${validation.loss}, in training ${step.loss}`);
    for (const [task, loss] of Object.entries(step.taskLosses)) {
      assert.ok(near(validation.taskLosses[task], loss) || Number.isNaN(loss), task);
    }
  });
}

logic('images are validated in batches with the results of single ones', async () => {
  const valid = dataset(5, { targets: 3, seed: 4 });
  const [one, three] = [await measure({ valid }), await measure({ valid, batchSize: 3 })];
  assert.ok(near(one.validation.loss, three.validation.loss));
  assert.equal(one.validation.metrics, three.validation.metrics);
});

/** Returns a dataset that counts which examples are read. */
function counted(set: Dataset): Dataset & { read: number[] } {
  const read: number[] = [];
  return {
    ...{ ...set, read },
    example: index => {
      read.push(index);
      return set.example(index);
    },
  };
}

logic('a sample of validation images is drawn from all datasets and stays the same', () =>
  withoutLeaks(async () => {
    const sets = [counted(dataset(20, { name: 'a' })), counted(dataset(20, { name: 'b', seed: 40 }))];
    const records: ValidationRecord[] = [];
    const { florence } = await train(folder, {
      ...{ train: dataset(2), lora: { r: 2 }, valid: sets, validateExamples: 12, validateEvery: 1 },
      onValidation: record => records.push(record),
    });
    florence.dispose();
    const [first, second] = records.map(({ datasets }) => datasets!.map(({ name, images }) => [name, images]));
    assert.equal(first, second);
    assert.is((first[0][1] as number) + (first[1][1] as number), 12);
    for (const { read, name } of sets) {
      const half = read.length / 2;
      assert.equal(read.slice(0, half), read.slice(half), `${name}: the same examples again`);
      assert.ok(half > 1, `${name} has ${half} of 12 examples`);
      assert.not.equal(read.slice(0, half), [...Array(half).keys()], `${name}: not simply the first ones`);
    }
  }),
);

logic('each dataset is measured: its figures are those of a validation of it alone', async () => {
  const [a, b] = [dataset(2, { name: 'a' }), dataset(3, { name: 'b', seed: 9 })];
  const { validation } = await measure({ valid: [a, b] });
  for (const [i, valid] of [a, b].entries()) {
    const alone = (await measure({ valid })).validation;
    assert.is(alone.datasets, undefined);
    const { name, images, loss, taskLosses, metrics } = validation.datasets![i];
    assert.equal([name, images], [valid.name, valid.length]);
    assert.ok(near(loss, alone.loss));
    assert.equal(Object.keys(taskLosses), Object.keys(alone.taskLosses));
    assert.equal(metrics, alone.metrics);
  }
  const [left, right] = validation.datasets!;
  assert.ok(Math.min(left.loss, right.loss) < validation.loss && validation.loss < Math.max(left.loss, right.loss));
});

logic('progress is reported', async () => {
  const seen: number[][] = [];
  await measure({ valid: dataset(5), batchSize: 2, onValidationProgress: (done, total) => seen.push([done, total]) });
  assert.equal(seen, [[2, 5], [4, 5], [5, 5]]); // biome-ignore format: one line
});

logic('patience ends a run that does not improve; a resumed one has nothing left to do', () =>
  withoutLeaks(async () => {
    // The learning rate is 0 all the time, so that no validation is better than the first.
    const how = { train: dataset(2), valid: dataset(1), lora: { r: 2 }, warmupSteps: 1e6, epochs: 10 };
    const options = { ...how, validateEvery: 2, patience: 3, output: newFolder() };
    const first = await train(folder, { ...options, learningRate: 1e-30 });
    assert.equal([first.steps, first.stopped, first.endedEarly, first.best?.step], [8, false, true, 2]);
    const again = await train(folder, { ...options, learningRate: 1e-30, resume: true });
    assert.equal([again.losses.length, again.steps, again.endedEarly], [0, 8, true]);
    const longer = await train(folder, { ...options, learningRate: 1e-30, resume: true, patience: 4 });
    assert.equal([longer.losses.length, longer.steps, longer.endedEarly], [2, 10, true]);
    for (const { florence } of [first, again, longer]) florence.dispose();
  }),
);

logic('a validation that fails does not lose the steps before it', async () => {
  const output = newFolder();
  const valid: Dataset = {
    ...dataset(1),
    example: () => {
      throw new Error('the disk is gone');
    },
  };
  const error = await train(folder, { train: dataset(3), valid, lora: { r: 2 }, output }).catch(error => error);
  assert.match(error.message, /the disk is gone/);
  assert.ok(existsSync(join(output, 'latest')));
});

test('the time that is left includes validations', () => {
  const { now } = performance;
  let clock = 0;
  performance.now = () => 1000 * clock;
  try {
    const pace = new Pace();
    for (let step = 0; step < 4; step++) {
      clock += 2;
      pace.add(8);
    }
    assert.is(pace.secondsFor(10, 3), 20, 'before the first validation');
    clock += 30;
    pace.addValidation();
    clock += 2;
    pace.add(8);
    assert.is(pace.secondsFor(10, 3), 20 + 90);
    assert.is(pace.perSecond, 4);
  } finally {
    performance.now = now;
  }
});

test.run();
