import { Florence2Error } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { decodeImage } from '../image/decode.ts';
import { taskKey } from '../text/tasks.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { inspectTarget, labelsOf, type Say } from './check_target.ts';
import type { Dataset, Target, TrainingExample } from './example.ts';
import { type OpenOptions, openDataset } from './open.ts';
import type { DatasetProblem, SourcedTarget } from './reading.ts';

export interface CheckOptions extends Omit<OpenOptions, 'onProblem'> {
  /** With it the tokens of every answer are counted. */
  tokenizer?: Tokenizer;
  /** The positions that the model has for an answer. Default 1024. */
  maxPositions?: number;
  /** Called after each image. */
  onProgress?: (done: number, total: number) => void;
}

export interface DatasetReport {
  name: string;
  /** Those of reading the files first, then image by image. */
  problems: DatasetProblem[];
  images: number;
  /** How many targets each task has. */
  targets: Record<string, number>;
  /** How many objects each label has, the most frequent first. */
  labels: Record<string, number>;
  /** How many images each size has, as `640x480`, the most frequent first. */
  imageSizes: Record<string, number>;
  /** Tokens of the longest answer, with `<s>` and `</s>`, where they were counted. */
  longestAnswer?: number;
}

/**
 * Looks at all of a dataset before it is trained on, and lists what is wrong by file and line:
 *
 * - errors, which training refuses: lines that cannot be read, images that are missing or cannot be decoded or are of
 *   another size than the annotations say, unknown tasks, answers that are none, `<loc_1000>`, answers of more tokens
 *   than the model has positions;
 * - warnings, which are learnt as they are: boxes that are empty, inverted or outside of the image, the same target
 *   twice, phrases and characters that results leave out, and what the readers leave out.
 *
 * @param dataset a path for `openDataset`, or a dataset
 * @throws Florence2Error where there is no dataset at all
 */
export async function checkDataset(dataset: string | Dataset, options: CheckOptions = {}): Promise<DatasetReport> {
  const inspection = new Inspection(options);
  const { onProblem } = inspection;
  const opened = typeof dataset === 'string' ? await openDataset(dataset, { ...options, onProblem }) : dataset;
  let done = 0;
  for await (const loaded of loadAll(opened)) {
    inspection.addExample(loaded);
    options.onProgress?.(++done, opened.length);
  }
  return inspection.report(opened);
}

/** Looks at one example after the other, and counts. */
class Inspection {
  private readonly problems: DatasetProblem[] = [];
  private readonly targets = new Counter();
  private readonly labels = new Counter();
  private readonly imageSizes = new Counter();
  private longestAnswer = 0;

  constructor(private readonly options: CheckOptions) {}

  readonly onProblem = (problem: DatasetProblem): void => {
    this.problems.push(problem);
  };

  addExample({ example, size, problem }: Loaded): void {
    if (problem) this.onProblem(problem);
    if (size) this.imageSizes.add(`${size.width}x${size.height}`);
    const seen = new Map<string, string>();
    for (const target of example?.targets ?? []) {
      const { source = example!.source, ...content }: SourcedTarget = target;
      const say: Say = (severity, message) => this.onProblem({ severity, source, message });
      const key = JSON.stringify(content);
      if (seen.has(key)) say('warning', `The same is to be learnt about this image in ${seen.get(key)}.`);
      else seen.set(key, source);
      this.targets.add(taskKey(target.task));
      const text = inspectTarget(target, size ?? example!.imageSize, say);
      if (text === undefined) continue;
      this.addLabels(target, say);
      this.addLength(text, say);
    }
  }

  private addLabels(target: Target, say: Say): void {
    for (const label of labelsOf(target)) {
      if (this.labels.add(label) > 1 || /^[\x00-\x7f]*$/.test(label)) continue;
      say(
        'warning',
        `The label ${JSON.stringify(label)} loses what is not ASCII in results, unless they keep Unicode.`,
      );
    }
  }

  private addLength(text: string, say: Say): void {
    const { tokenizer, maxPositions = 1024 } = this.options;
    const length = tokenizer?.encode(text).length ?? 0;
    this.longestAnswer = Math.max(this.longestAnswer, length);
    if (length > maxPositions)
      say('error', `The answer has ${length} tokens; the model has ${maxPositions} positions.`);
  }

  report({ name, length }: Dataset): DatasetReport {
    const { problems, targets, labels, imageSizes, longestAnswer } = this;
    return {
      ...{ name, problems, images: length },
      ...{ targets: targets.sorted(), labels: labels.sorted(), imageSizes: imageSizes.sorted() },
      ...(this.options.tokenizer && { longestAnswer }),
    };
  }
}

interface Loaded {
  example?: TrainingExample;
  /** Of the image as it was decoded. */
  size?: ImageSize;
  problem?: DatasetProblem;
}

/** How many images are decoded at a time. */
const AHEAD = 4;

/** All examples in their order, with the sizes of their images. */
async function* loadAll(dataset: Dataset): AsyncGenerator<Loaded, void> {
  const waiting: Promise<Loaded>[] = [];
  for (let i = 0; i < dataset.length || waiting.length > 0; i++) {
    if (i < dataset.length) waiting.push(load(dataset, i));
    if (waiting.length > AHEAD || i >= dataset.length) yield await waiting.shift()!;
  }
}

async function load(dataset: Dataset, index: number): Promise<Loaded> {
  let example: TrainingExample | undefined;
  const error = (message: string): DatasetProblem => {
    return { severity: 'error', source: example?.source ?? `${dataset.name}: example ${index}`, message };
  };
  try {
    example = await dataset.example(index);
    const { width, height } = await decodeImage(example.image);
    const said = example.imageSize;
    if (!said || (said.width === width && said.height === height)) return { example, size: { width, height } };
    const turned = said.width === height && said.height === width;
    const why = turned ? ' Was it turned as its EXIF orientation says when it was annotated? Then save it turned.' : '';
    const message = `The image is ${width}x${height}, but annotated as ${said.width}x${said.height}.${why}`;
    return { example, size: { width, height }, problem: error(message) };
  } catch (thrown) {
    if (!(thrown instanceof Florence2Error)) throw thrown;
    return { example, problem: error(thrown.message) };
  }
}

class Counter {
  private readonly counts = new Map<string, number>();

  /** Returns how often the key has been counted. */
  add(key: string): number {
    const count = (this.counts.get(key) ?? 0) + 1;
    this.counts.set(key, count);
    return count;
  }

  /** The most frequent first. */
  sorted(): Record<string, number> {
    return Object.fromEntries([...this.counts].sort(([, a], [, b]) => b - a));
  }
}
