import { maskIou } from '../geometry/iou.ts';
import { type Mask, maskArea } from '../geometry/masks.ts';
import { matchRanked } from './matching.ts';
import { byRank, groupBy, iouOf, type Placed, type Ranked, rankOf } from './pairs.ts';

/** A box with its class. Ranked by confidence, else by score, else as 1; equal ones keep their order. */
export interface ClassBox extends Ranked, Placed {
  label: string;
}

/** What is known of a true object beside its shape. */
export interface TrueObject {
  label: string;
  /** Area in pixels, which decides the size class. Default: that of the shape. */
  area?: number;
  /** Whether it is a crowd: found objects inside it are not counted, and it need not be found. Default false. */
  crowd?: boolean;
}

/** How the shapes of objects are compared. */
export interface Shapes<S> {
  iou(found: S, truth: S, crowd: boolean): number;
  area(shape: S): number;
}

/** Compares boxes `[x1, y1, x2, y2]`. */
export const BOXES: Shapes<Placed> = {
  iou: (found, truth, crowd) => iouOf(found, truth, { crowd }),
  area: ({ box }) => Math.abs((box[2] - box[0]) * (box[3] - box[1])),
};

/** Compares masks. */
export const MASKS: Shapes<{ mask: Mask }> = {
  iou: (found, truth, crowd) => maskIou(found.mask, truth.mask, { crowd }),
  area: ({ mask }) => maskArea(mask),
};

/** IoUs at which COCO matches found objects to true ones: 0.50, 0.55 to 0.95. */
export const IOU_THRESHOLDS = linspace(0.5, 0.95, 10);
/** Recalls at which COCO samples the precision: 0, 0.01 to 1. */
export const RECALLS = linspace(0, 1, 101);
/** COCO's size classes: all, small, medium and large objects, by their area in pixels. Limits belong to both sides. */
const AREAS = [
  [0, 1e10],
  [0, 32 ** 2],
  [32 ** 2, 96 ** 2],
  [96 ** 2, 1e10],
];
const SIZES = ['', 'Small', 'Medium', 'Large'];

/** Whether a found object is right, wrong, or not counted (in a crowd, or of another size). */
const [WRONG, RIGHT, IGNORED] = [0, 1, 2];

/** What precision and recall of one class are computed from. */
interface ClassRecord {
  truths: number[]; // by size class, without crowds
  found: { score: number; place: number; marks: Uint8Array }[]; // marks [size class, threshold]
}

/** Precision and recall of one class. Values of sizes that no true object has are undefined. */
export interface ClassScore {
  label: string;
  truths: number;
  found: number;
  /** Average precision at each of `IOU_THRESHOLDS`. */
  precisions: number[];
  /** Recall of all found objects at each of `IOU_THRESHOLDS`. */
  recalls: number[];
  /** Mean average precision of all, small, medium and large objects. */
  bySize: (number | undefined)[];
  /** The highest precision at each of `RECALLS` or a higher recall, for an IoU of 0.5. */
  curve: number[];
}

/**
 * COCO's mean average precision and recall, equal to pycocotools' `COCOeval` (Lin et al. 2014; cocodataset/cocoapi, `cocoeval.py`). In each image and class, found objects are matched to true ones in the order of their
 * ranks. Objects of different classes never match. Classes without true objects are excluded from the means.
 */
export class DetectionMetric<S = Placed> {
  private readonly classes = new Map<string, ClassRecord>();

  /**
   * @param shapes how objects are compared: `BOXES` or `MASKS`
   * @param limits the highest ranked objects of an image and class that count: in two recalls, and in all other values
   */
  constructor(
    private readonly shapes: Shapes<S>,
    private readonly limits: readonly [number, number, number] = [1, 10, 100],
  ) {}

  /** Adds the true and the found objects of one image. Equal scores of several images are ranked in the order of calls. */
  add(truth: readonly (S & TrueObject)[], found: readonly (S & { label: string } & Ranked)[]): void {
    const truths = groupBy(truth, ({ label }) => label);
    const detections = groupBy(found, ({ label }) => label);
    for (const label of new Set([...truths.keys(), ...detections.keys()])) {
      const record = this.classes.get(label) ?? { truths: AREAS.map(() => 0), found: [] };
      this.classes.set(label, record);
      this.addClass(record, truths.get(label) ?? [], byRank(detections.get(label) ?? []).slice(0, this.limits[2]));
    }
  }

  private addClass(record: ClassRecord, truths: (S & TrueObject)[], ranked: (S & Ranked)[]): void {
    const ious = ranked.map(found => truths.map(truth => this.shapes.iou(found, truth, truth.crowd ?? false)));
    const marks = ranked.map(() => new Uint8Array(AREAS.length * IOU_THRESHOLDS.length));
    const sizes = ranked.map(found => this.shapes.area(found));
    const trueSizes = truths.map(truth => truth.area ?? this.shapes.area(truth));
    for (const [a, [low, high]] of AREAS.entries()) {
      const outside = (size: number): boolean => size < low || size > high;
      const kinds = truths.map(({ crowd = false }, i) => ({ crowd, ignored: crowd || outside(trueSizes[i]) }));
      record.truths[a] += kinds.filter(({ ignored }) => !ignored).length;
      for (const [t, threshold] of IOU_THRESHOLDS.entries()) {
        for (const [d, match] of matchRanked(ious, kinds, threshold).entries()) {
          const uncounted = match < 0 ? outside(sizes[d]) : kinds[match].ignored;
          marks[d][a * IOU_THRESHOLDS.length + t] = uncounted ? IGNORED : match < 0 ? WRONG : RIGHT;
        }
      }
    }
    for (const [d, found] of ranked.entries()) record.found.push({ score: rankOf(found), place: d, marks: marks[d] });
  }

  /**
   * Returns COCO's twelve numbers, 0 to 1: `mAP` over IoU 0.50:0.95, `mAP50`, `mAP75`, `mAPSmall`, `mAPMedium`,
   * `mAPLarge`, the mean recalls `AR1`, `AR10` and `AR100` by the number of found objects, `ARSmall`, `ARMedium` and
   * `ARLarge`. What no true object has a value for is absent.
   */
  metrics(): Record<string, number> {
    const rows = this.rows();
    const defined = (values: (number[] | undefined)[], t?: number): number | undefined => {
      const known = values.filter(value => value !== undefined);
      return known.length > 0 ? mean(known.map(value => (t === undefined ? mean(value) : value[t]))) : undefined;
    };
    const [few, some, most] = this.limits;
    const precisions = rows.map(row => AREAS.map((_, a) => row.precisions(a)));
    const recalls = (a: number, limit: number) => defined(rows.map(row => row.recalls(a, limit)));
    const values: [string, number | undefined][] = [
      ...SIZES.map((size, a): [string, number | undefined] => [`mAP${size}`, defined(precisions.map(row => row[a]))]),
      ...[0, 5].map((t): [string, number | undefined] => [
        `mAP${Math.round(IOU_THRESHOLDS[t] * 100)}`,
        defined(
          precisions.map(row => row[0]),
          t,
        ),
      ]),
      ...[few, some, most].map((limit): [string, number | undefined] => [`AR${limit}`, recalls(0, limit)]),
      ...[1, 2, 3].map((a): [string, number | undefined] => [`AR${SIZES[a]}`, recalls(a, most)]),
    ];
    return Object.fromEntries(values.filter((entry): entry is [string, number] => entry[1] !== undefined));
  }

  /** Returns precision and recall of each class that has true objects, in alphabetical order. */
  perClass(): ClassScore[] {
    return this.rows().flatMap(row => {
      const precisions = row.precisions(0);
      if (!precisions) return [];
      const sizes = AREAS.map((_, a) => row.precisions(a)).map(values => values && mean(values));
      const recalls = row.recalls(0, this.limits[2])!;
      const { truths, found } = row.record;
      const curve = precisionCurve(row.marks(0, 0), truths[0]);
      return [{ label: row.label, truths: truths[0], found: found.length, precisions, recalls, bySize: sizes, curve }];
    });
  }

  private rows(): RankedClass[] {
    const names = [...this.classes.keys()].sort();
    return names.map(label => new RankedClass(label, this.classes.get(label)!));
  }
}

/** The found objects of a class, highest score first. */
class RankedClass {
  private readonly ranked: ClassRecord['found'];

  constructor(
    readonly label: string,
    readonly record: ClassRecord,
  ) {
    this.ranked = record.found.toSorted((x, y) => y.score - x.score);
  }

  marks(area: number, threshold: number, limit = Number.POSITIVE_INFINITY): number[] {
    const found = limit < Number.POSITIVE_INFINITY ? this.ranked.filter(({ place }) => place < limit) : this.ranked;
    return found.map(({ marks }) => marks[area * IOU_THRESHOLDS.length + threshold]);
  }

  /** Returns the average precision at each threshold, or undefined without true objects of this size. */
  precisions(area: number): number[] | undefined {
    const truths = this.record.truths[area];
    if (truths === 0) return undefined;
    return IOU_THRESHOLDS.map((_, t) => mean(precisionCurve(this.marks(area, t), truths)));
  }

  recalls(area: number, limit: number): number[] | undefined {
    const truths = this.record.truths[area];
    if (truths === 0) return undefined;
    return IOU_THRESHOLDS.map((_, t) => this.marks(area, t, limit).filter(mark => mark === RIGHT).length / truths);
  }
}

/** Returns the highest precision at each of `RECALLS` or a higher recall. */
function precisionCurve(marks: readonly number[], truths: number): number[] {
  const recall: number[] = [];
  const precision: number[] = [];
  let [right, wrong] = [0, 0];
  for (const mark of marks) {
    if (mark === RIGHT) right++;
    else if (mark === WRONG) wrong++;
    recall.push(right / truths);
    precision.push(right / Math.max(1, right + wrong));
  }
  for (let i = precision.length - 1; i > 0; i--) precision[i - 1] = Math.max(precision[i - 1], precision[i]);
  let i = 0;
  return RECALLS.map(wanted => {
    while (i < recall.length && recall[i] < wanted) i++;
    return precision[i] ?? 0;
  });
}

/** Returns the mean, or NaN of no values. */
export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Rounds as NumPy does: step 35 of 0:1:0.01 is 0.35000000000000003, which a recall of 0.35 does not reach. */
export function linspace(start: number, stop: number, count: number): number[] {
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? stop : start + i * step));
}
