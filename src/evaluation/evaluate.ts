import { DATASET } from '../datasets/collect.ts';
import type { Dataset, Target, TrainingExample } from '../datasets/example.ts';
import type { Florence2 } from '../florence2.ts';
import { checkKind, checkOptions } from '../options.ts';
import type { QuadsResult, TaskResult, TextResult } from '../results/types.ts';
import { taskKey } from '../text/tasks.ts';
import { bleu, type TokenizedCaption } from './bleu.ts';
import { answerDataset, CALIBRATE, type CalibrateOptions } from './calibrate.ts';
import { ciderD } from './cider.ts';
import { auroc, expectedCalibrationError, type Outcome } from './confidence.ts';
import type { ClassScore } from './detection.ts';
import { Evaluator } from './evaluator.ts';
import { readTruth } from './judge.ts';
import { OcrMetric, type TextLine } from './ocr.ts';
import { outcomesOf } from './outcomes.ts';
import { pennTokens } from './penn_tokens.ts';
import { rougeL } from './rouge.ts';
import { characterErrors, errorRate, type TextErrors, wordErrors } from './text.ts';

/** How the answers to one task compare with the true ones. */
export interface TaskEvaluation {
  /**
   * The metrics of `Evaluator`, for boxes all of `DetectionMetric`, and by kind of task: captions `BLEU-4`, `ROUGE-L` and
   * `CIDEr-D`; read text `WER` and `CER`; read lines `precision`, `recall` and `hmean` of OCR end to end. With
   * confidences also `calibrationError` and `auroc`.
   */
  metrics: Record<string, number>;
  /** Precision and recall of each class; empty for tasks without classes. */
  classes: ClassScore[];
  /** Confidence of each answered object or text, and whether it is right. */
  outcomes: Outcome[];
}

/**
 * Answers a dataset and compares the answers with the true ones, task by task. If an image has several true captions, the
 * task is asked once, and all of them are its references.
 *
 * @returns by task token, `prompt` for custom prompts
 * @throws UsageError for wrong options, and the error of an example that cannot be answered, unless `onProblem` is given
 */
export async function evaluate(
  florence: Florence2,
  dataset: Dataset,
  options: CalibrateOptions = {},
): Promise<Record<string, TaskEvaluation>> {
  checkOptions('evaluate', options, CALIBRATE);
  checkKind('dataset', dataset, DATASET);
  const evaluation = new DatasetEvaluation(options.keepUnicode ?? false);
  await answerDataset(florence, oncePerQuestion(dataset), options, (example, results) => {
    evaluation.add(example, results);
  });
  return evaluation.metrics();
}

/** Collects the answers to a dataset, and computes the metrics of each task. */
export class DatasetEvaluation {
  private readonly evaluator: Evaluator;
  private readonly tasks = new Map<string, TaskAnswers>();

  constructor(private readonly keepUnicode: boolean) {
    this.evaluator = new Evaluator({ keepUnicode });
  }

  /**
   * @param example of a dataset that asks each question once
   * @param results the answers to its targets
   */
  add({ targets, objects }: TrainingExample, results: readonly TaskResult[]): void {
    for (const [j, result] of results.entries()) {
      const { others, ...target } = targets[j] as Asked;
      const key = taskKey(target.task);
      const answers = this.tasks.get(key) ?? new TaskAnswers();
      this.tasks.set(key, answers);
      for (const one of [target, ...others]) this.evaluator.add(one, result.imageSize, result, objects);
      answers.add([target, ...others], result, this.keepUnicode);
    }
  }

  /** Returns the metrics by task token, `prompt` for custom prompts. */
  metrics(): Record<string, TaskEvaluation> {
    const [metrics, coco, classes] = [this.evaluator.metrics(), this.evaluator.coco(), this.evaluator.classes()];
    return Object.fromEntries(
      [...this.tasks].map(([key, answers]) => {
        const all = Object.entries({ ...metrics[key], ...coco[key], ...answers.metrics() });
        const shared = all.filter(([name, value]) => !name.startsWith('AP/') && !Number.isNaN(value));
        const evaluation = {
          metrics: Object.fromEntries(shared),
          classes: classes[key] ?? [],
          outcomes: answers.outcomes,
        };
        return [key, evaluation];
      }),
    );
  }
}

/** A question with the targets that ask the same. */
type Asked = Target & { others: Target[] };

/** Returns a dataset that asks each question about an image once. */
export const oncePerQuestion = (dataset: Dataset): Dataset => ({
  name: dataset.name,
  length: dataset.length,
  async example(i) {
    const example = await dataset.example(i);
    const asked = new Map<string, Asked>();
    for (const target of example.targets) {
      const question = JSON.stringify([target.task, target.text, target.box]);
      const first = asked.get(question);
      if (first) first.others.push(target);
      else asked.set(question, { ...target, others: [] });
    }
    return { ...example, targets: [...asked.values()] };
  },
});

const CAPTIONS: ReadonlySet<string> = new Set(['<CAPTION>', '<DETAILED_CAPTION>', '<MORE_DETAILED_CAPTION>']);
const READINGS: ReadonlySet<string> = new Set(['<OCR>', '<REGION_TO_OCR>']);

/** What the metrics of one task that need all answers are computed from. */
class TaskAnswers {
  readonly outcomes: Outcome[] = [];
  private readonly captions: TokenizedCaption[] = [];
  private readonly words: TextErrors[] = [];
  private readonly characters: TextErrors[] = [];
  private readonly lines = new OcrMetric();
  private hasLines = false;

  add(targets: readonly Target[], result: TaskResult, keepUnicode: boolean): void {
    const truths = targets.map(({ answer }) => readTruth(answer, result.task, result.imageSize, keepUnicode));
    this.outcomes.push(...outcomesOf(truths[0], result));
    const texts = truths.flatMap(truth => ('text' in truth ? [truth.text] : []));
    if (CAPTIONS.has(result.task)) {
      this.captions.push({ candidate: pennTokens((result as TextResult).text), references: texts.map(pennTokens) });
    }
    if (READINGS.has(result.task)) {
      this.words.push(wordErrors(texts[0], (result as TextResult).text));
      this.characters.push(characterErrors(texts[0], (result as TextResult).text));
    }
    if ('quads' in truths[0]) {
      this.hasLines = true;
      this.lines.add(truths[0].quads as TextLine[], (result as QuadsResult).quads);
    }
  }

  metrics(): Record<string, number> {
    const { captions, words, characters, outcomes } = this;
    return {
      ...(captions.length > 0
        ? { 'BLEU-4': bleu(captions)[3], 'ROUGE-L': rougeL(captions), 'CIDEr-D': ciderD(captions).mean }
        : {}),
      ...(words.length > 0 ? { WER: errorRate(words), CER: errorRate(characters) } : {}),
      ...(this.hasLines ? this.lines.rates().endToEnd : {}),
      ...(outcomes.length > 0 ? { calibrationError: expectedCalibrationError(outcomes), auroc: auroc(outcomes) } : {}),
    };
  }
}
