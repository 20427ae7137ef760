import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Target } from '../../src/datasets/example.ts';
import { Evaluator } from '../../src/evaluation/evaluator.ts';
import type { TaskResult } from '../../src/results/types.ts';
import { ScoreMeter } from '../../tools/demo/scores.ts';

const imageSize = { width: 100, height: 100 };
const box: [number, number, number, number] = [0, 0, 40, 40];
const target: Target = { task: '<OD>', answer: { boxes: [{ label: 'cat', box }] } };

/** The right box has the higher confidence and the lower score. */
const result: TaskResult = {
  task: '<OD>',
  boxes: [
    { label: 'cat', box: [50, 50, 90, 90], score: 0.9, confidence: 0.2 },
    { label: 'cat', box, score: 0.1, confidence: 0.8 },
  ],
  ...{ imageSize, answer: '', truncated: false },
};

test('confidences are measured by task and in all, and mAP is ranked by the score', () => {
  const [meter, evaluator] = [new ScoreMeter(), new Evaluator()];
  meter.add(target, imageSize, result);
  meter.add({ task: '<CAPTION>', answer: { text: 'a cat' } }, imageSize, { task: '<CAPTION>', text: 'a dog', confidence: 0.5, ...{ imageSize, answer: '', truncated: false } }); // biome-ignore format: one line
  evaluator.add(target, imageSize, result);
  const { '<OD>': detection, all } = meter.figures();
  assert.is(detection.count, 2);
  assert.is(detection.medianRight, 0.8);
  assert.is(detection.auroc, 1);
  assert.ok(Math.abs(detection.calibrationError - 0.2) < 1e-12);
  assert.is(detection.mAPByScore, 0.5);
  assert.is(evaluator.metrics()['<OD>'].mAP, 1, 'ranked by confidence');
  assert.is(all.count, 3);
});

test.run();
