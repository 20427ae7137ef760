import type { BenchmarkImage, BenchmarkSplits } from '../datasets/benchmarks/files.ts';
import { findFile } from '../datasets/benchmarks/files.ts';
import { type ReferDataset, type ReferredObject, readRefer } from '../datasets/benchmarks/refer.ts';
import { readCocoCaptions, readTextcaps, readTextVqa } from '../datasets/benchmarks/texts.ts';
import type { Dataset } from '../datasets/example.ts';
import { openAnnotations } from '../datasets/open.ts';
import type { Florence2 } from '../florence2.ts';
import { cocoMask } from '../geometry/coco_mask.ts';
import { checkKind, checkOptions, oneOf } from '../options.ts';
import type { Box, TaskResult, TextResult } from '../results/types.ts';
import { answerDataset, CALIBRATE, type CalibrateOptions } from './calibrate.ts';
import { ciderD } from './cider.ts';
import { BOXES, type ClassBox, DetectionMetric, mean, type TrueObject } from './detection.ts';
import { type ReferredBox, referringBoxes, referringMasks } from './grounding.ts';
import { byRank } from './pairs.ts';
import { pennTokens } from './penn_tokens.ts';
import { BENCHMARK_NAMES, type BenchmarkName } from './published.ts';
import { textVqaAccuracy } from './vqa.ts';

/** A benchmark: how it is read, how its answers are measured, and what the paper reports. */
interface Benchmark<Truth> {
  read: (folder: string) => Promise<BenchmarkSplits<Truth>>;
  /** Returns a collector of answers. */
  measure: () => { add: (truth: Truth, result: TaskResult) => void; metrics: () => Record<string, number> };
  /** The metric that the paper reports. */
  figure: string;
}

const caption = (read: Benchmark<string[]>['read']): Benchmark<string[]> => ({
  ...{ read, figure: 'CIDEr' },
  measure: () => {
    const captions: { candidate: string[]; references: string[][] }[] = [];
    return {
      add: (references, result) =>
        captions.push({ candidate: pennTokens((result as TextResult).text), references: references.map(pennTokens) }),
      metrics: () => ({ CIDEr: 100 * ciderD(captions).mean }),
    };
  },
});

const referring = (dataset: ReferDataset): Benchmark<ReferredObject> => ({
  figure: 'accuracy@0.5',
  read: folder => readRefer(folder, dataset, '<CAPTION_TO_PHRASE_GROUNDING>'),
  measure: () => {
    const [first, surest]: ReferredBox[][] = [[], []];
    return {
      add: ({ box: truth }, result) => {
        const boxes = 'phrases' in result ? result.phrases.flatMap(phrase => phrase.boxes) : [];
        first.push({ truth, found: boxes[0]?.box ?? null });
        surest.push({ truth, found: byRank(boxes)[0]?.box ?? null });
      },
      metrics: () => ({
        'accuracy@0.5': 100 * referringBoxes(first).accuracy,
        'mean IoU': 100 * referringBoxes(first).meanIoU,
        'accuracy@0.5 of the box with the highest confidence': 100 * referringBoxes(surest).accuracy,
      }),
    };
  },
});

/** How boxes may be ranked for COCO's mAP. The paper does not state it. */
const RANKINGS: Record<string, (object: Box) => number> = {
  'mAP, constant score': () => 1,
  "mAP, transformers' location scores": ({ score = 1 }) => score,
  "mAP, transformers' label scores": ({ labelScore = 1 }) => labelScore,
  'mAP, confidence': ({ rawConfidence, confidence = 1 }) => rawConfidence ?? confidence,
};

const detection: Benchmark<(ClassBox & TrueObject)[]> = {
  figure: 'mAP, confidence',
  async read(folder) {
    const file = findFile(folder, ['instances_val2017.json']);
    const dataset = await openAnnotations(file, { imageRoot: folder, crowds: true });
    const images: BenchmarkImage<(ClassBox & TrueObject)[]>[] = [];
    for (let i = 0; i < dataset.length; i++) {
      const { image, source, objects } = await dataset.image(i);
      images.push({ image: image as string, source, questions: [{ task: '<OD>', truth: objects }] });
    }
    return { val2017: images };
  },
  measure: () => {
    const ranked = Object.entries(RANKINGS).map(([name, rank]) => ({ name, rank, metric: new DetectionMetric(BOXES) }));
    return {
      add: (truth, result) => {
        const boxes = 'boxes' in result ? (result.boxes as Box[]) : [];
        for (const { rank, metric } of ranked) {
          metric.add(
            truth,
            boxes.map(found => ({ label: found.label, box: found.box, score: rank(found) })),
          );
        }
      },
      metrics: () => Object.fromEntries(ranked.map(({ name, metric }) => [name, 100 * (metric.metrics().mAP ?? 0)])),
    };
  },
};

const segmentation: Benchmark<ReferredObject> = {
  figure: 'mIoU',
  async read(folder) {
    const { val } = await readRefer(folder, 'refcoco', '<REFERRING_EXPRESSION_SEGMENTATION>');
    return { val };
  },
  measure: () => {
    const ious: number[] = [];
    return {
      add: ({ mask }, result) => {
        const polygons = 'instances' in result ? (result.instances ?? []).flatMap(instance => instance.polygons) : [];
        ious.push(referringMasks([{ truth: mask(), found: cocoMask(polygons, result.imageSize) }]).meanIoU);
      },
      metrics: () => ({ mIoU: 100 * mean(ious) }),
    };
  },
};

const textVqa: Benchmark<string[]> = {
  ...{ read: readTextVqa, figure: 'accuracy' },
  measure: () => {
    const accuracies: number[] = [];
    return {
      add: (answers, result) => accuracies.push(textVqaAccuracy({ prediction: (result as TextResult).text, answers })),
      metrics: () => ({ accuracy: 100 * mean(accuracies) }),
    };
  },
};

/** Returns the call that answers and measures a benchmark. */
const call =
  <Truth>(benchmark: Benchmark<Truth>) =>
  (florence: Florence2, folder: string, options: CalibrateOptions): Promise<BenchmarkResult[]> =>
    measureSplits(florence, benchmark, folder, options);

const BENCHMARKS: Record<BenchmarkName, ReturnType<typeof call>> = {
  'coco-caption': call(caption(readCocoCaptions)),
  textcaps: call(caption(readTextcaps)),
  'coco-detection': call(detection),
  refcoco: call(referring('refcoco')),
  'refcoco+': call(referring('refcoco+')),
  refcocog: call(referring('refcocog')),
  'refcoco-res': call(segmentation),
  textvqa: call(textVqa),
};

/** The figures of a split of a benchmark. */
export interface BenchmarkResult {
  split: string;
  /** Number of questions that were answered. */
  questions: number;
  /** By name, in percent as papers print them. */
  metrics: Record<string, number>;
  /** The name of the metric that the paper reports. */
  figure: string;
}

/**
 * Answers a benchmark of Florence-2's paper with its prompts and three beams, and returns the figures of each split. Node
 * only.
 *
 * @param folder the annotations and images as they are distributed
 * @param options as for `evaluate`; `numBeams` is 3 by default
 * @throws Florence2Error if files are missing or invalid, and the error of an image that cannot be answered, unless
 *   `onProblem` is given
 */
export async function evaluateBenchmark(
  florence: Florence2,
  name: BenchmarkName,
  folder: string,
  options: CalibrateOptions = {},
): Promise<BenchmarkResult[]> {
  checkKind('name', name, oneOf(...BENCHMARK_NAMES));
  checkOptions('evaluateBenchmark', options, CALIBRATE);
  return BENCHMARKS[name](florence, folder, options);
}

async function measureSplits<Truth>(
  florence: Florence2,
  { read, measure, figure }: Benchmark<Truth>,
  folder: string,
  options: CalibrateOptions,
): Promise<BenchmarkResult[]> {
  const results: BenchmarkResult[] = [];
  for (const [split, images] of Object.entries(await read(folder))) {
    const { add, metrics } = measure();
    let questions = 0;
    const dataset: Dataset = {
      ...{ name: `${folder} (${split})`, length: images.length },
      example(i) {
        const { image, source, questions } = images[i];
        return { image, source, targets: questions.map(({ task, text }) => ({ task, text, answer: '' })) };
      },
    };
    let index = 0;
    const numBeams = options.numBeams ?? 3;
    await answerDataset(florence, dataset, { ...options, numBeams }, ({ source }, answers) => {
      while (images[index].source !== source) index++; // images that failed are left out
      for (const [j, answer] of answers.entries()) add(images[index].questions[j].truth, answer);
      index++;
      questions += answers.length;
    });
    results.push({ split, questions, metrics: metrics(), figure });
  }
  return results;
}
