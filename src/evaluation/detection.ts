import { byRank, groupBy, iouOf, type Ranked, rankOf } from './pairs.ts';

/** A box with its class. Ranked by confidence, else by score, else as 1; equal ones keep their order. */
export interface ClassBox extends Ranked {
  label: string;
  box: ArrayLike<number>; // [x1, y1, x2, y2]
}

/** What precision and recall of one class are computed from. */
interface ClassRecord {
  truths: number;
  detections: { score: number; hits: boolean[] }[]; // hits [T]: whether it matches a true box at each threshold
}

const IOU_THRESHOLDS = linspace(0.5, 0.95, 10);
const RECALLS = linspace(0, 1, 101);
const MAX_DETECTIONS = 100;

/**
 * COCO's mean average precision of boxes, equal to pycocotools 2.0 for all areas and 100 detections. In each image and
 * class, detections are matched to true boxes in the order of their ranks; precision is sampled at 101 recalls. Boxes
 * of different classes never match. Classes without true boxes are excluded from the means.
 */
export class DetectionMetric {
  private readonly classes = new Map<string, ClassRecord>();

  /** Adds the true boxes and the found boxes of one image, in any order. */
  add(truth: readonly ClassBox[], found: readonly ClassBox[]): void {
    const [truths, detections] = [truth, found].map(boxes => groupBy(boxes, ({ label }) => label));
    for (const label of new Set([...truths.keys(), ...detections.keys()])) {
      const record = this.classes.get(label) ?? { truths: 0, detections: [] };
      this.classes.set(label, record);
      const boxes = truths.get(label) ?? [];
      record.truths += boxes.length;
      const ranked = byRank(detections.get(label) ?? []).slice(0, MAX_DETECTIONS);
      const hits = IOU_THRESHOLDS.map(threshold => matches(boxes, ranked, threshold, iouOf)); // [T][D]
      ranked.forEach((found, d) => {
        record.detections.push({ score: rankOf(found), hits: hits.map(row => row[d]) });
      });
    }
  }

  /** Returns `mAP` over IoU 0.50:0.95, `mAP50` and `mAP75`, 0 to 1. Empty if no image has a true box. */
  metrics(): Record<string, number> {
    const precisions = [...this.averagePrecisions().values()]; // [K][T]
    if (precisions.length === 0) return {};
    const at = (t: number): number => mean(precisions.map(row => row[t]));
    return { mAP: mean(precisions.map(mean)), mAP50: at(0), mAP75: at(5) };
  }

  /** Returns `AP/<class>`, the average precision of each class over IoU 0.50:0.95, in alphabetical order. */
  perClass(): Record<string, number> {
    const rows = [...this.averagePrecisions()].sort(([a], [b]) => (a < b ? -1 : 1));
    return Object.fromEntries(rows.map(([label, row]) => [`AP/${label}`, mean(row)]));
  }

  /** Returns the average precision at each threshold, [T], of each class that has true boxes. */
  private averagePrecisions(): Map<string, number[]> {
    const known = [...this.classes].filter(([, { truths }]) => truths > 0);
    return new Map(
      known.map(([label, { truths, detections }]) => {
        const ranked = byRank(detections);
        const row = IOU_THRESHOLDS.map((_, t) => averagePrecision(ranked.map(({ hits }) => hits[t]), truths)); // biome-ignore format: one line
        return [label, row];
      }),
    );
  }
}

/**
 * Returns which detections, best first, match a true object. Each is matched to the unmatched true object with the
 * highest IoU (the last one of equals), if the IoU reaches the threshold.
 */
export function matches<T, F>(
  truths: readonly T[],
  detections: readonly F[],
  threshold: number,
  iouOf: (detection: F, truth: T) => number,
): boolean[] {
  const taken = truths.map(() => false);
  return detections.map(detection => {
    let [most, match] = [threshold, -1];
    for (const [i, truth] of truths.entries()) {
      if (taken[i]) continue;
      const iou = iouOf(detection, truth);
      if (iou >= most) [most, match] = [iou, i];
    }
    if (match >= 0) taken[match] = true;
    return match >= 0;
  });
}

/** Returns the mean over 101 recalls of the highest precision at this or a higher recall. */
function averagePrecision(hits: readonly boolean[], truths: number): number {
  const recall: number[] = [];
  const precision: number[] = [];
  let right = 0;
  for (const [i, hit] of hits.entries()) {
    if (hit) right++;
    recall.push(right / truths);
    precision.push(right / (i + 1));
  }
  for (let i = precision.length - 1; i > 0; i--) precision[i - 1] = Math.max(precision[i - 1], precision[i]);
  let i = 0;
  const read = RECALLS.map(wanted => {
    while (i < recall.length && recall[i] < wanted) i++;
    return precision[i] ?? 0;
  });
  return mean(read);
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Rounds as NumPy does: step 35 is 0.35000000000000003, which a recall of 0.35 does not reach. */
export function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? stop : start + i * step));
}
