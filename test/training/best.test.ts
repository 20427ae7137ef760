import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../../src/errors.ts';
import { Criterion } from '../../src/training/best.ts';

const means = {
  loss: 0.5,
  taskLosses: {},
  metrics: {
    '<OD>': { mAP: 0.25, 'AP/car/van': 0.125, count: 3 },
    '<CAPTION>': { editSimilarity: 0.75 },
    '<REGION_PROPOSAL>': { mAP: 0.75 },
  },
};
const best = (value: number, by: string) => ({ step: 1, loss: 1, by, value });

for (const [name, value] of [
  ['loss', 0.5],
  ['od/mAP', 0.25],
  ['<OD>/mAP', 0.25],
  ['od/AP/car/van', 0.125],
  ['caption/editSimilarity', 0.75],
  ['mAP', 0.5],
] as const) {
  test(`${name} of a validation`, () => assert.is(new Criterion(name).valueOf(means), value));
}

test('a lower loss and a higher metric are better, and numbers are better than none', () => {
  const [loss, metric] = [new Criterion('loss'), new Criterion('mAP')];
  assert.equal([loss.isBetter(0.4, best(0.5, 'loss')), loss.isBetter(0.6, best(0.5, 'loss'))], [true, false]);
  assert.equal([metric.isBetter(0.4, best(0.5, 'mAP')), metric.isBetter(0.6, best(0.5, 'mAP'))], [false, true]);
  assert.is(loss.isBetter(Number.NaN, null), false);
  assert.is(loss.isBetter(9, null), true);
  assert.is(metric.isBetter(0.1, best(0.5, 'loss')), true, 'another criterion starts anew');
});

for (const [name, message] of [
  ['map', /bestBy is map, which is no metric\. Did you mean mAP\?/],
  ['od/mAP5', /Did you mean mAP50\?|Did you mean mAP\?/],
  ['odd/mAP', /Did you mean "od"/],
  ['AP/car', /AP/],
] as const) {
  test(`refused: ${name}`, () =>
    assert.throws(
      () => new Criterion(name),
      (error: Error) => error instanceof UsageError && message.test(error.message),
    ));
}

test('a metric that the data do not have is an error that lists those they have', () => {
  assert.throws(() => new Criterion('od/meanIoU').valueOf(means), /no metric od\/meanIoU\. They have: od\/mAP, /);
});

test.run();
