import type { Dataset } from '../../src/datasets/example.ts';
import { BOXES, type ClassBox, DetectionMetric } from '../../src/evaluation/detection.ts';
import type { Florence2 } from '../../src/florence2.ts';
import { decodeImage } from '../../src/image/decode.ts';
import type { RawImage } from '../../src/image/types.ts';
import { parseAnswer } from '../../src/results/format.ts';
import type { ResultOf } from '../../src/results/types.ts';
import { NEW_SHAPE } from './shape_dataset.ts';

/** mAP50 of `<OD>`, 0 to 1. */
export interface ShapeFigures {
  /** For the classes of the new shape, one for each colour. */
  newShape: number;
  /** For all other classes, on images without the new shape. */
  known: number;
}

/** The detections in an image. */
export interface Detected {
  image: RawImage;
  truth: ClassBox[];
  result: ResultOf<'<OD>'>;
}

const imagesAtOnce = 32;

/** Runs `<OD>` greedily on every image of a dataset. */
export async function detect(florence: Florence2, dataset: Dataset): Promise<Detected[]> {
  const detected: Detected[] = [];
  for (let first = 0; first < dataset.length; first += imagesAtOnce) {
    const count = Math.min(imagesAtOnce, dataset.length - first);
    const examples = await Promise.all(Array.from({ length: count }, (_, i) => dataset.example(first + i)));
    const images = await Promise.all(examples.map(({ image }) => decodeImage(image)));
    const requests = images.map(image => ({ image, task: '<OD>' }));
    const results = (await florence.runBatch(requests, { numBeams: 1 })) as ResultOf<'<OD>'>[];
    results.forEach((result, i) => {
      const { answer } = examples[i].targets.find(({ task }) => task === '<OD>')!;
      const truth = parseAnswer('<OD>', answer as string, images[i]) as { boxes: ClassBox[] };
      detected.push({ image: images[i], truth: truth.boxes, result });
    });
  }
  return detected;
}

/**
 * Returns mAP50 for the new shape and for the known ones.
 *
 * @param withNew detections in images with the new shape
 * @param without detections in images without
 */
export function shapeFigures(withNew: readonly Detected[], without: readonly Detected[]): ShapeFigures {
  const isNew = ({ label }: ClassBox): boolean => label.endsWith(` ${NEW_SHAPE}`);
  return { newShape: mAP50(withNew, isNew), known: mAP50(without, box => !isNew(box)) };
}

/** Returns mAP50 over the boxes that `wanted` selects. */
function mAP50(detected: readonly Detected[], wanted: (box: ClassBox) => boolean): number {
  const metric = new DetectionMetric(BOXES);
  for (const { truth, result } of detected) metric.add(truth.filter(wanted), result.boxes.filter(wanted));
  return metric.metrics().mAP50;
}
