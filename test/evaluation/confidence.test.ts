import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  auroc,
  averagePrecision,
  bestF1,
  brierScore,
  confidenceBins,
  expectedCalibrationError,
  isotonicRegression,
  maximumCalibrationError,
  type Outcome,
  thresholdCurve,
} from '../../src/evaluation/confidence.ts';
import { interpolate } from '../../src/results/calibration.ts';
import { referenceJson } from '../reference.ts';

const outcomes = (scores: number[], hits: number[]): Outcome[] =>
  scores.map((confidence, i) => ({ confidence, right: hits[i] === 1 }));

const near = (found: number, expected: number, what: string): void => {
  assert.ok(Math.abs(found - expected) <= 1e-12, `${what}: ${found}, not ${expected}`);
};

test('the calibration error equals the reference', () => {
  const { sets } = referenceJson('evaluation/confidence.json');
  assert.ok(sets.length > 0);
  for (const { name, scores, hits, calibration } of sets) {
    if (calibration.ece !== null) near(expectedCalibrationError(outcomes(scores, hits)), calibration.ece, name);
  }
});

test('bins, the largest gap and the Brier score equal the reference', () => {
  for (const { name, scores, hits, calibration } of referenceJson('evaluation/confidence.json').sets) {
    const list = outcomes(scores, hits);
    near(maximumCalibrationError(list), calibration.mce, `${name}: largest gap`);
    near(brierScore(list), calibration.brier, `${name}: Brier score`);
    for (const [i, bin] of confidenceBins(list).entries()) {
      const { low, high, count, confidence, accuracy } = calibration.bins[i];
      assert.equal([bin.low, bin.high, bin.count], [low, high, count], `${name}: bin ${i}`);
      if (count === 0) assert.equal([bin.confidence, bin.right], [undefined, undefined]);
      else {
        near(bin.confidence!, confidence, `${name}: confidence of bin ${i}`);
        near(bin.right!, accuracy, `${name}: share of bin ${i}`);
      }
    }
  }
});

test('precision and recall by threshold equal the reference', () => {
  for (const { name, scores, hits, precision_recall: expected } of referenceJson('evaluation/confidence.json').sets) {
    if (!expected) continue;
    const curve = thresholdCurve(outcomes(scores, hits), expected.missed);
    assert.is(curve.length, expected.points.length, name);
    for (const [i, point] of curve.entries()) {
      const { threshold, precision, recall, f1 } = expected.points[i];
      assert.is(point.threshold, threshold);
      near(point.precision, precision, `${name}: precision at ${threshold}`);
      if (recall === null) assert.ok(Number.isNaN(point.recall));
      else near(point.recall, recall, `${name}: recall at ${threshold}`);
      near(point.f1, f1, `${name}: F1 at ${threshold}`);
    }
    if (expected.best_f1) {
      const best = bestF1(curve)!;
      assert.is(best.threshold, expected.best_f1.threshold, name);
      near(best.f1, expected.best_f1.f1, `${name}: best F1`);
    }
    if (expected.average_precision !== undefined)
      near(averagePrecision(curve), expected.average_precision, `${name}: average precision`);
  }
});

test('three answers by hand: bins, largest gap, Brier score, curve', () => {
  const list = outcomes([0.9, 0.5, 0.9], [1, 0, 0]);
  near(maximumCalibrationError(list), 0.5, 'the bin of 0.5 is wrong');
  near(brierScore(list), (0.01 + 0.25 + 0.81) / 3, 'Brier score');
  assert.equal(
    thresholdCurve(list, 1).map(({ threshold, precision, recall }) => [threshold, precision, recall]),
    [
      [0.9, 1 / 2, 1 / 2],
      [0.5, 1 / 3, 1 / 2],
    ],
  );
  near(averagePrecision(thresholdCurve(list, 1)), 1 / 4, 'average precision');
});

test('a limit belongs to the bin below it, and 0 to the first', () => {
  // 1/15 and 0 share the first bin: |(1/15) / 2 − 1/2|. In bins of their own the error would be (1/15 + 1) / 2.
  near(expectedCalibrationError(outcomes([1 / 15, 0], [0, 1])), 1 / 2 - 1 / 30, 'limits');
});

/** Cases of scikit-learn, see tools/isotonic_cases.py. */
interface Case {
  name: string;
  scores: number[];
  right: number[];
  probes: number[];
  values: number[];
  auroc: number;
}
const cases: Case[] = readFileSync(new URL('isotonic_cases.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map(line => JSON.parse(line));

test('isotonic regression and the area under the ROC curve equal those of scikit-learn', () => {
  assert.is(cases.length, 5);
  for (const { name, scores, right, probes, values, auroc: area } of cases) {
    const curve = isotonicRegression(outcomes(scores, right));
    probes.forEach((probe, i) => {
      near(interpolate(curve, probe), values[i], `${name} at ${probe}`);
    });
    near(auroc(outcomes(scores, right)), area, name);
  }
});

test('violators are pooled', () => {
  const found = isotonicRegression(outcomes([0.1, 0.2, 0.3, 0.4, 0.5], [0, 1, 0, 1, 1]));
  assert.equal(found, { raw: [0.1, 0.2, 0.3, 0.4, 0.5], calibrated: [0, 0.5, 0.5, 1, 1] });
});

test('the area counts pairs of a right and a wrong answer; equal ones half', () => {
  assert.is(auroc(outcomes([0.1, 0.4, 0.4, 0.8], [0, 1, 0, 1])), 3.5 / 4);
  assert.is(auroc(outcomes([0.9, 0.1], [0, 1])), 0);
  assert.ok(Number.isNaN(auroc(outcomes([0.9, 0.1], [1, 1]))), 'no wrong answer');
});

test.run();
