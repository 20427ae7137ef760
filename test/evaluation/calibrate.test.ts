import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Dataset } from '../../src/datasets/example.ts';
import type { DatasetProblem } from '../../src/datasets/reading.ts';
import { Florence2Error } from '../../src/errors.ts';
import { answerOutcomes, calibrate } from '../../src/evaluation/calibrate.ts';
import type { Florence2 } from '../../src/florence2.ts';
import type { Calibration } from '../../src/results/calibration.ts';
import type { TaskResult } from '../../src/results/types.ts';

const imageSize = { width: 100, height: 100 };
const data = new Uint8Array(30000);
const common = { imageSize, answer: '', truncated: false };

/** A dataset whose image i shows a cat. */
const cats: Dataset = {
  name: 'cats',
  length: 4,
  example: i => ({
    image: { ...imageSize, data },
    source: `image ${i}`,
    targets: [
      { task: '<CAPTION>', answer: { text: 'a cat' } },
      { task: '<REGION_TO_CATEGORY>', answer: 'cat', box: [0, 0, 9, 9] },
    ],
  }),
};

/** A model that names the animals of `said` one after another, with the confidences of `sure`. */
function speaker(said: string[], sure: number[], calibration: Calibration | null = null) {
  let turn = 0;
  const disposed: number[] = [];
  const florence = {
    calibration,
    withAdapter() {
      return this;
    },
    withHooks: () => ({ ...florence }),
    encodeImage: async () => ({ imageSize, dispose: () => disposed.push(turn) }),
    async runBatch(requests: { task: string }[]): Promise<TaskResult[]> {
      assert.is(this.calibration, null, 'answers have raw confidences');
      assert.equal(requests.map(({ task }) => task), ['<CAPTION>', '<REGION_TO_CATEGORY>']); // biome-ignore format: one line
      const [animal, confidence] = [said[turn], sure[turn++]];
      if (animal === undefined) throw new Error('the model fails');
      return [
        { task: '<CAPTION>', text: `a ${animal}`, confidence, ...common },
        { task: '<REGION_TO_CATEGORY>', text: 'cat', confidence: 0.3, ...common },
      ];
    },
  };
  return { florence: florence as unknown as Florence2, disposed };
}

test('each task gets the curve of its answers, which becomes that of the model', async () => {
  const { florence, disposed } = speaker(['cat', 'dog', 'cat', 'cow'], [0.9, 0.1, 0.5, 0.6], { '<OD>': { raw: [0], calibrated: [0] } }); // biome-ignore format: one line
  const done: number[] = [];
  const calibration = await calibrate(florence, cats, { onProgress: i => done.push(i) });
  assert.equal(calibration, {
    '<CAPTION>': { raw: [0.1, 0.5, 0.6, 0.9], calibrated: [0, 0.5, 0.5, 1] },
    '<REGION_TO_CATEGORY>': { raw: [0.3], calibrated: [1] },
  });
  assert.is(florence.calibration, calibration);
  assert.is(disposed.length, 4);
  assert.equal(done, [1, 2, 3, 4]);
});

test('an error leaves the calibration as it was', async () => {
  const before = { '<OD>': { raw: [0], calibrated: [0] } };
  const { florence, disposed } = speaker(['cat'], [0.9], before);
  const error = await calibrate(florence, cats).catch(e => e);
  assert.match(String(error), /the model fails/);
  assert.is(florence.calibration, before);
  assert.is(disposed.length, 2);
});

test('places of an image that is read upright are compared in the stored image', async () => {
  const stored = { width: 100, height: 50 };
  const found = { label: 'cat', box: [0, 0, 50, 25], confidence: 0.9 };
  const florence = {
    withAdapter: () => florence,
    encodeImage: async () => ({ imageSize: { width: 50, height: 100 }, orientation: 6, dispose: () => {} }),
    runBatch: async () => [{ ...common, task: '<OD>', boxes: [found], instances: [], imageSize: stored }],
  } as unknown as Florence2;
  const answer = 'cat<loc_0><loc_0><loc_499><loc_499>'; // the box, in thousandths of the stored image
  const targets = [{ task: '<OD>', answer }];
  const dataset: Dataset = {
    name: 'one',
    length: 1,
    example: () => ({ image: { ...stored, data }, source: '', targets }),
  };
  const outcomes = await answerOutcomes(florence, dataset, { orientation: 'apply' });
  assert.equal(outcomes.get('<OD>'), [{ confidence: 0.9, right: true }]);
});

test('with onProblem, examples that fail are reported and left out', async () => {
  const { florence } = speaker(['cat', 'cat'], [0.9, 0.5]);
  const unreadable = new Florence2Error('1.png does not exist.');
  const example = (i: number) => {
    if (i === 1) throw unreadable;
    return cats.example(i);
  };
  const dataset: Dataset = { ...cats, length: 2, example };
  const problems: DatasetProblem[] = [];
  const outcomes = await answerOutcomes(florence, dataset, { onProblem: problem => problems.push(problem) });
  assert.equal(outcomes.get('<CAPTION>'), [{ confidence: 0.9, right: true }]);
  assert.equal(problems, [{ severity: 'error', source: 'cats[1]', message: '1.png does not exist.' }]);
  assert.is(await answerOutcomes(florence, dataset).catch(error => error), unreadable);
});

test.run();
