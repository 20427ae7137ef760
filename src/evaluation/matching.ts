/** What decides whether a true object can be matched. */
interface Matchable {
  /** It need not be found, and what is matched to it does not count. */
  ignored: boolean;
  /** It can be matched several times. */
  crowd: boolean;
}

/** An IoU of 1 reaches each threshold, also if it is rounded down. */
const HIGHEST_THRESHOLD = 1 - 1e-10;

/**
 * Returns for each found object the index of its true object, or -1. Found objects are matched in their order, each to
 * the free true object with the highest IoU (the last one of equals) if the IoU reaches the threshold. True objects that
 * are ignored are taken only if no other one is. pycocotools' `COCOeval.evaluateImg`.
 *
 * @param ious [found, true]
 */
export function matchRanked(ious: readonly number[][], truths: readonly Matchable[], threshold: number): number[] {
  const order = [...truths.keys()].sort((a, b) => Number(truths[a].ignored) - Number(truths[b].ignored));
  const taken = truths.map(() => false);
  return ious.map(row => {
    let most = Math.min(threshold, HIGHEST_THRESHOLD);
    let match = -1;
    for (const t of order) {
      if (taken[t] && !truths[t].crowd) continue;
      if (match >= 0 && truths[t].ignored && !truths[match].ignored) break;
      if (row[t] >= most) [most, match] = [row[t], t];
    }
    if (match >= 0) taken[match] = true;
    return match;
  });
}

/** Returns which found objects, best first, match a true one; see `matchRanked`. */
export function matches<T, F>(
  truths: readonly T[],
  found: readonly F[],
  threshold: number,
  iouOf: (found: F, truth: T) => number,
): boolean[] {
  const ious = found.map(one => truths.map(truth => iouOf(one, truth)));
  const all = truths.map(() => ({ ignored: false, crowd: false }));
  return matchRanked(ious, all, threshold).map(match => match >= 0);
}
