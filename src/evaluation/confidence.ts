import type { CalibrationCurve } from '../results/calibration.ts';
import { linspace, mean } from './detection.ts';
import { groupBy } from './pairs.ts';

/** An answer's confidence, 0 to 1, and whether the answer is right. */
export interface Outcome {
  confidence: number;
  right: boolean;
}

const BINS = linspace(0, 1, 16);

/**
 * Returns the expected calibration error, 0 to 1: the mean over 15 bins of equal width of |mean confidence − share of
 * right answers|, weighted by the answers in each bin. Guo et al. 2017. NaN without outcomes.
 */
export function expectedCalibrationError(outcomes: readonly Outcome[]): number {
  const bins = groupBy(outcomes, ({ confidence }) => String(BINS.findIndex((_, i) => confidence <= BINS[i + 1])));
  const gaps = [...bins.values()].map(bin => {
    const sure = mean(bin.map(({ confidence }) => confidence));
    return bin.length * Math.abs(sure - shareRight(bin));
  });
  return gaps.reduce((sum, gap) => sum + gap, 0) / outcomes.length;
}

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
