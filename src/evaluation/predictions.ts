import { DATASET } from '../datasets/collect.ts';
import type { Dataset, Target, TrainingExample } from '../datasets/example.ts';
import { type ProblemHandler, throwErrors } from '../datasets/reading.ts';
import { Florence2Error } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { callback, checkKind, checkOptions, onOff } from '../options.ts';
import type { TaskResult } from '../results/types.ts';
import { type Task, taskInfo } from '../text/tasks.ts';
import { DatasetEvaluation, oncePerQuestion, type TaskEvaluation } from './evaluate.ts';
import { readTruth } from './judge.ts';

/** Options of `evaluatePredictions`. */
export interface PredictionOptions {
  /** Whether labels keep characters outside ASCII, as with `keepUnicode` of a model's answers. Default true. */
  keepUnicode?: boolean;
  /** Receives what does not fit together. Default: warnings are ignored. */
  onProblem?: ProblemHandler;
}

/**
 * Compares the answers of any model, given as a dataset, with the true ones; see `evaluate`. Images are paired by their
 * names in the datasets (`TrainingExample.file`), or else by the last part of their names without extension, which may not
 * be ambiguous then. An image without predictions has an empty answer. Objects are ranked by their scores.
 *
 * @param dataset the true answers, from `openDataset`
 * @param predictions the answers, from `openDataset` with the same tasks
 * @throws Florence2Error if no image of the dataset has predictions
 */
export async function evaluatePredictions(
  dataset: Dataset,
  predictions: Dataset,
  options: PredictionOptions = {},
): Promise<Record<string, TaskEvaluation>> {
  checkOptions('evaluatePredictions', options, { keepUnicode: onOff, onProblem: callback });
  checkKind('dataset', dataset, DATASET);
  checkKind('predictions', predictions, DATASET);
  const { keepUnicode = true, onProblem = throwErrors } = options;
  const names = new ImageNames();
  for (let i = 0; i < predictions.length; i++) names.add(nameOf(await predictions.example(i)), i);
  const evaluation = new DatasetEvaluation(keepUnicode);
  const asked = oncePerQuestion(dataset);
  const missing: string[] = [];
  const used = new Set<number>();
  for (let i = 0; i < asked.length; i++) {
    const example = await asked.example(i);
    const index = names.find(nameOf(example));
    if (index === undefined) missing.push(nameOf(example));
    else used.add(index);
    const answers = index === undefined ? undefined : await predictions.example(index);
    const size = example.imageSize ?? answers?.imageSize ?? (await sizeOf(example));
    evaluation.add(
      example,
      example.targets.map(target => answerOf(target, answers, size, keepUnicode)),
    );
  }
  report(missing, dataset, predictions, used, onProblem);
  return evaluation.metrics();
}

/** The indices of images by their names. */
class ImageNames {
  private readonly byName = new Map<string, number>();
  /** By the last part of the name without extension; null if several have it. */
  private readonly byStem = new Map<string, number | null>();

  add(name: string, index: number): void {
    this.byName.set(name, index);
    this.byStem.set(stemOf(name), this.byStem.has(stemOf(name)) ? null : index);
  }

  find(name: string): number | undefined {
    return this.byName.get(name) ?? this.byStem.get(stemOf(name)) ?? undefined;
  }
}

const stemOf = (name: string): string => /([^/\\]*?)(?:\.[^./\\]*)?$/.exec(name)![1];

/** Returns the name of an example's image in its dataset, else the path or the place of the example. */
const nameOf = ({ file, image, source }: TrainingExample): string =>
  file ?? (typeof image === 'string' ? image : source);

async function sizeOf({ image }: TrainingExample): Promise<ImageSize> {
  const { decodeImage, readImageSize } = await import('../image/decode.ts');
  return typeof image === 'string' ? readImageSize(image) : decodeImage(image);
}

/** Returns the prediction for one question in the form of a model's answer. */
function answerOf(
  { task, text, box }: Target,
  predicted: TrainingExample | undefined,
  imageSize: ImageSize,
  keepUnicode: boolean,
): TaskResult {
  const same = (target: Target): boolean =>
    target.task === task && target.text === text && String(target.box) === String(box);
  const answer = predicted?.targets.find(same)?.answer;
  const fields = answer === undefined ? nothingFor(task) : readTruth(answer, task as Task, imageSize, keepUnicode);
  const boxes = scoredBoxes(task, text, predicted);
  return { task, imageSize, answer: '', ...fields, ...(boxes && { boxes }) } as TaskResult;
}

/** Returns the predicted objects with their scores, which the answers to questions lack; undefined for other tasks. */
function scoredBoxes(task: string, text: string | undefined, predicted: TrainingExample | undefined) {
  if (!predicted?.objects || !DETECTION.has(task)) return undefined;
  const asked = predicted.objects.filter(({ label, crowd }) => !crowd && (text === undefined || label === text));
  return asked.map(({ label, box, score }) => ({
    ...{ label: task === '<REGION_PROPOSAL>' ? '' : label, box },
    ...(score !== undefined && { score, confidence: score }),
  }));
}

const DETECTION: ReadonlySet<string> = new Set(['<OD>', '<REGION_PROPOSAL>', '<OPEN_VOCABULARY_DETECTION>']);

const FIELDS = {
  ...{ text: 'text', boxes: 'boxes', proposals: 'boxes', phrases: 'phrases', quads: 'quads' },
  ...{ polygons: 'instances', 'boxes or polygons': 'boxes' },
} as const;

/** Returns the fields of an empty answer. */
function nothingFor(task: string): object {
  const field = FIELDS[taskInfo(task)?.answer ?? 'text'];
  return { [field]: field === 'text' ? '' : [] };
}

function report(
  missing: readonly string[],
  dataset: Dataset,
  predictions: Dataset,
  used: ReadonlySet<number>,
  onProblem: ProblemHandler,
): void {
  const source = predictions.name;
  if (missing.length === dataset.length) {
    throw new Florence2Error(
      `${source} has no predictions for the ${dataset.length} images of ${dataset.name}: it has none for ${some(missing)}.`,
    );
  }
  const warn = (message: string): void => onProblem({ severity: 'warning', source, message });
  if (missing.length > 0)
    warn(`${missing.length} of ${dataset.length} images have no predictions and count as empty: ${some(missing)}.`);
  const others = predictions.length - used.size;
  if (others > 0) warn(`${others} of ${predictions.length} predicted images are not in ${dataset.name}.`);
}

const some = (names: readonly string[]): string =>
  names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
