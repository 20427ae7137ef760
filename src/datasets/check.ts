import { Florence2Error } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { decodeImage } from '../image/decode.ts';
import { taskKey } from '../text/tasks.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { checkImageFile } from './check_image.ts';
import { ANY_SIZE, inspectTarget, labelsOf, type Report } from './check_target.ts';
import type { Dataset, Target, TrainingExample } from './example.ts';
import type { DatasetProblem } from './reading.ts';
import { clipRegion, sizeProblem } from './targets.ts';
import { type LengthLimits, lengthProblem, tokenIds } from './tokenize.ts';

export const IMAGE_CHECKS = ['decode', 'header', 'none'] as const;

/** What a check reads of the images. */
export type ImageCheck = (typeof IMAGE_CHECKS)[number];

/** Options of `checkExamples`. */
export interface CheckExamplesOptions {
  /** Used to count the tokens of every answer. Default: they are not counted. */
  tokenizer?: Tokenizer;
  /** Positions of the model, see `lengthLimits`. Default: 1024 for answers, and prompts of any length. */
  limits?: LengthLimits;
  /**
   * What is read of the images: `decode` decodes each, `header` reads their sizes and the ends of the files, `none` checks
   * the annotations alone. Default `decode`.
   */
  imageCheck?: ImageCheck;
  /** Called after each image with the number of checked images and of all images. */
  onProgress?: (done: number, total: number) => void;
}

/** What `checkDataset` found. */
export interface DatasetReport {
  /** Name of the dataset, usually its file. */
  name: string;
  /** Problems of the annotation files first, then those of each image. */
  problems: DatasetProblem[];
  /** Number of images. */
  images: number;
  /** Number of targets by task. */
  targets: Record<string, number>;
  /** Number of objects by label, most frequent label first. */
  labels: Record<string, number>;
  /** Number of images by size (`640x480`), most frequent size first. */
  imageSizes: Record<string, number>;
  /** Tokens of all answers, of the longest one, and of the longest prompt, with `<s>` and `</s>`. */
  tokens?: { answers: number; longestAnswer: number; longestPrompt: number };
}

/** Checks all examples of a dataset, as `checkDataset` describes. */
export async function checkExamples(dataset: Dataset, options: CheckExamplesOptions = {}): Promise<DatasetReport> {
  const inspection = new Inspection(options);
  let done = 0;
  for await (const loaded of loadAll(dataset, options.imageCheck ?? 'decode')) {
    inspection.addExample(loaded);
    options.onProgress?.(++done, dataset.length);
  }
  return inspection.summary(dataset);
}

/** The problems and counts of the examples so far. */
class Inspection {
  private readonly problems: DatasetProblem[] = [];
  private readonly targets = new Counter();
  private readonly labels = new Counter();
  private readonly imageSizes = new Counter();
  private readonly tokens = { answers: 0, longestAnswer: 0, longestPrompt: 0 };

  constructor(private readonly options: CheckExamplesOptions) {}

  addExample({ example, size, problem }: Loaded): void {
    if (problem) this.problems.push(problem);
    if (size) this.imageSizes.add(`${size.width}x${size.height}`);
    const seen = new Map<string, string>();
    for (const target of example?.targets ?? []) {
      const { source = example!.source, ...content } = target;
      const report: Report = (severity, message) => this.problems.push({ severity, source, message });
      const key = JSON.stringify(content);
      if (seen.has(key)) report('warning', `The target is a duplicate of ${seen.get(key)}.`);
      else seen.set(key, source);
      this.targets.add(taskKey(target.task));
      const imageSize = size ?? example!.imageSize;
      if (!inspectTarget(target, imageSize, report)) continue;
      this.addLabels(target, report);
      this.addLengths(target, imageSize, report);
    }
  }

  private addLabels(target: Target, report: Report): void {
    for (const label of labelsOf(target)) {
      if (this.labels.add(label) > 1 || /^[\x00-\x7f]*$/.test(label)) continue;
      report(
        'warning',
        `Results remove the characters outside ASCII from the label ${JSON.stringify(label)}, unless keepUnicode is set.`,
      );
    }
  }

  private addLengths(target: Target, imageSize: ImageSize | undefined, report: Report): void {
    const { tokenizer, limits = { maxPositions: 1024, imageTokens: Number.NEGATIVE_INFINITY } } = this.options;
    if (!tokenizer) return;
    const image = imageSize ?? ANY_SIZE;
    const { promptIds, answerIds } = tokenIds(clipRegion(target, image), image, tokenizer);
    const problem = lengthProblem(target.task, promptIds.length, answerIds.length, limits);
    this.tokens.answers += answerIds.length;
    this.tokens.longestAnswer = Math.max(this.tokens.longestAnswer, answerIds.length);
    this.tokens.longestPrompt = Math.max(this.tokens.longestPrompt, promptIds.length);
    if (problem) report('error', problem);
  }

  summary({ name, length }: Dataset): DatasetReport {
    const { problems, targets, labels, imageSizes, tokens } = this;
    return {
      ...{ name, problems, images: length },
      ...{ targets: targets.sorted(), labels: labels.sorted(), imageSizes: imageSizes.sorted() },
      ...(this.options.tokenizer && { tokens }),
    };
  }
}

interface Loaded {
  example?: TrainingExample;
  /** Size of the decoded image. */
  size?: ImageSize;
  problem?: DatasetProblem;
}

/** Number of images that are decoded concurrently. */
const AHEAD = 4;

/** Yields all examples in order, with the sizes of their images. */
async function* loadAll(dataset: Dataset, images: ImageCheck): AsyncGenerator<Loaded, void> {
  const waiting: Promise<Loaded>[] = [];
  for (let i = 0; i < dataset.length || waiting.length > 0; i++) {
    if (i < dataset.length) waiting.push(load(dataset, i, images));
    if (waiting.length > AHEAD || i >= dataset.length) yield await waiting.shift()!;
  }
}

async function load(dataset: Dataset, index: number, images: ImageCheck): Promise<Loaded> {
  let example: TrainingExample | undefined;
  const error = (message: string): DatasetProblem => {
    return { severity: 'error', source: example?.source ?? `${dataset.name}: example ${index}`, message };
  };
  try {
    example = await dataset.example(index);
    if (images === 'none') return { example };
    const { width, height } =
      images === 'header' ? await checkImageFile(example.image) : await decodeImage(example.image);
    const size = { width, height };
    const problem = sizeProblem(size, example.imageSize);
    return { example, size, ...(problem !== undefined && { problem: error(problem) }) };
  } catch (thrown) {
    if (!(thrown instanceof Florence2Error)) throw thrown;
    return { example, problem: error(thrown.message) };
  }
}

class Counter {
  private readonly counts = new Map<string, number>();

  /** Counts a key and returns its count. */
  add(key: string): number {
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    return count;
  }

  /** Returns the counts, most frequent key first. */
  sorted(): Record<string, number> {
    return Object.fromEntries([...this.counts].sort(([, a], [, b]) => b - a));
  }
}
