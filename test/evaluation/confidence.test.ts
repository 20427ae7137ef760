import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { auroc, expectedCalibrationError, isotonicRegression, type Outcome } from '../../src/evaluation/confidence.ts';
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
