import type { CalibrationCurve } from '../results/calibration.ts';
import { linspace, mean } from './detection.ts';
import { groupBy } from './pairs.ts';

/** An answer's confidence, 0 to 1, and whether the answer is right. */
export interface Outcome {
  confidence: number;
  right: boolean;
}

const BINS = linspace(0, 1, 16);

/** Answers of similar confidence. */
export interface ConfidenceBin {
  /** Confidences above `low` (in the first bin also 0) up to `high` belong to the bin. */
  low: number;
  high: number;
  count: number;
  /** Mean confidence; undefined in an empty bin. */
  confidence?: number;
  /** Share of right answers; undefined in an empty bin. */
  right?: number;
}

/** Returns 15 bins of equal width from 0 to 1, for reliability diagrams. */
export function confidenceBins(outcomes: readonly Outcome[]): ConfidenceBin[] {
  const bins = groupBy(outcomes, ({ confidence }) => String(BINS.findIndex((_, i) => confidence <= BINS[i + 1])));
  return BINS.slice(1).map((high, i) => {
    const bin = bins.get(String(i)) ?? [];
    const empty = { low: BINS[i], high, count: bin.length };
    return bin.length === 0
      ? empty
      : { ...empty, confidence: mean(bin.map(({ confidence }) => confidence)), right: shareRight(bin) };
  });
}

/**
 * Returns the expected calibration error, 0 to 1: the mean over 15 bins of equal width of |mean confidence − share of
 * right answers|, weighted by the answers in each bin. Guo et al. 2017. NaN without outcomes.
 */
export const expectedCalibrationError = (outcomes: readonly Outcome[]): number =>
  gaps(outcomes).reduce((sum, { count, gap }) => sum + count * gap, 0) / outcomes.length;

/** Returns the largest gap of a bin, see `expectedCalibrationError`. 0 without outcomes. */
export const maximumCalibrationError = (outcomes: readonly Outcome[]): number =>
  Math.max(0, ...gaps(outcomes).map(({ gap }) => gap));

const gaps = (outcomes: readonly Outcome[]): { count: number; gap: number }[] =>
  confidenceBins(outcomes).flatMap(({ count, confidence, right }) =>
    confidence === undefined || right === undefined ? [] : [{ count, gap: Math.abs(confidence - right) }],
  );

/** Returns the mean squared error of confidences, 0 to 1. Brier 1950. NaN without outcomes. */
export const brierScore = (outcomes: readonly Outcome[]): number =>
  mean(outcomes.map(({ confidence, right }) => (confidence - Number(right)) ** 2));

/** Precision, recall and their harmonic mean among the answers of at least this confidence. */
export interface ThresholdPoint {
  threshold: number;
  precision: number;
  recall: number;
  f1: number;
}

/**
 * Returns precision and recall at each confidence that occurs, highest first. Recalls are NaN without true objects.
 *
 * @param missed true objects that no answer found; they count in the recall. Default 0
 */
export function thresholdCurve(outcomes: readonly Outcome[], missed = 0): ThresholdPoint[] {
  const truths = outcomes.filter(({ right }) => right).length + missed;
  let [right, taken] = [0, 0];
  const ranked = outcomes.toSorted((a, b) => b.confidence - a.confidence);
  return [...groupBy(ranked, ({ confidence }) => String(confidence)).values()].map(equal => {
    taken += equal.length;
    right += equal.filter(outcome => outcome.right).length;
    const [precision, recall] = [right / taken, right / truths];
    const f1 = right > 0 ? (2 * precision * recall) / (precision + recall) : 0;
    return { threshold: equal[0].confidence, precision, recall, f1 };
  });
}

/** Returns the point of a curve with the highest F1; of equal ones the one with the highest threshold. Undefined for none. */
export const bestF1 = (curve: readonly ThresholdPoint[]): ThresholdPoint | undefined =>
  curve.toSorted((a, b) => b.f1 - a.f1 || b.threshold - a.threshold).at(0);

/** Returns the area under a curve of `thresholdCurve` without interpolation, as scikit-learn's `average_precision_score`. */
export const averagePrecision = (curve: readonly ThresholdPoint[]): number =>
  curve.reduce((sum, { precision, recall }, i) => sum + (recall - (curve[i - 1]?.recall ?? 0)) * precision, 0);

/**
 * Returns the area under the ROC curve, 0 to 1: how often a right answer has a higher confidence than a wrong one; equal
 * confidences count half. NaN unless there are right and wrong answers.
 */
export function auroc(outcomes: readonly Outcome[]): number {
  const ranked = outcomes.toSorted((a, b) => a.confidence - b.confidence);
  let [above, wrong, right] = [0, 0, 0];
  for (let i = 0, next = 0; i < ranked.length; i = next) {
    while (next < ranked.length && ranked[next].confidence === ranked[i].confidence) next++;
    const rightHere = ranked.slice(i, next).filter(outcome => outcome.right).length;
    const wrongHere = next - i - rightHere;
    above += rightHere * (wrong + wrongHere / 2);
    right += rightHere;
    wrong += wrongHere;
  }
  return above / (right * wrong);
}

/** Outcomes of neighbouring confidences that get one value. */
interface Block {
  confidences: number[];
  right: number;
  count: number;
}

/**
 * Fits the ascending curve with the least squared error by pooling adjacent violators (isotonic regression, as
 * scikit-learn's `IsotonicRegression` with `out_of_bounds='clip'`).
 *
 * @param outcomes at least one
 */
export function isotonicRegression(outcomes: readonly Outcome[]): CalibrationCurve {
  const byConfidence = groupBy(
    outcomes.toSorted((a, b) => a.confidence - b.confidence),
    ({ confidence }) => String(confidence),
  );
  const blocks: Block[] = [];
  for (const equal of byConfidence.values()) {
    let block: Block = {
      confidences: [equal[0].confidence],
      right: shareRight(equal) * equal.length,
      count: equal.length,
    };
    for (let last = blocks.at(-1); last && last.right / last.count >= block.right / block.count; last = blocks.at(-1)) {
      blocks.pop();
      const confidences = [...last.confidences, ...block.confidences];
      block = { confidences, right: last.right + block.right, count: last.count + block.count };
    }
    blocks.push(block);
  }
  // The curve is flat within a block: its two ends suffice.
  const points = blocks.flatMap(({ confidences, right, count }) =>
    [...new Set([confidences[0], confidences.at(-1)!])].map(raw => ({ raw, calibrated: right / count })),
  );
  return { raw: points.map(({ raw }) => raw), calibrated: points.map(({ calibrated }) => calibrated) };
}

const shareRight = (outcomes: readonly Outcome[]): number => mean(outcomes.map(({ right }) => Number(right)));
