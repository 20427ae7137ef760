import type { Target } from '../../src/datasets/example.ts';
import { Evaluator } from '../../src/evaluation/evaluator.ts';
import { exactMatch } from '../../src/evaluation/text.ts';
import type { Florence2 } from '../../src/florence2.ts';
import type { TaskResult } from '../../src/results/types.ts';
import { SCENE_SIDE, type SceneOptions, type Suite } from './layout.ts';
import { drawScene } from './scene.ts';
import { type ScoreFigures, ScoreMeter } from './scores.ts';
import { wordsRight } from './words_right.ts';

export interface EvaluationOptions extends SceneOptions {
  /** Seed of the scenes, not one of the training's. */
  seed: number;
  scenes: number;
  /** Constrains answers to the form of their task. */
  constrain?: boolean;
  onProgress?: (scenesDone: number) => void;
}

export interface DemoFigures {
  suite: Suite;
  seed: number;
  scenes: number;
  /** The figures that the checkpoint must reach, 0 to 1; NaN where the scenes have no such question. */
  figures: Record<FigureName, number>;
  /** All metrics of `Evaluator` by task; captions also have `wordsRight`. */
  tasks: Record<string, Record<string, number>>;
  /** What the confidences are worth, by task and in all. */
  scores: Record<string, ScoreFigures>;
}

/** The figures of the demo checkpoint on plain scenes: the floor must be reached, the aim should be. */
export const FIGURES = {
  detection: { says: 'mAP of <OD>', floor: 0.8, aim: 0.9 },
  detection50: { says: 'mAP50 of <OD>', floor: 0.96, aim: 0.99 },
  denseCaptions: { says: 'mAP of <DENSE_REGION_CAPTION>', floor: 0.78, aim: 0.88 },
  openVocabulary: { says: 'mAP of <OPEN_VOCABULARY_DETECTION>', floor: 0.72, aim: 0.85 },
  proposals: { says: 'mAP of <REGION_PROPOSAL>', floor: 0.7, aim: 0.85 },
  printedBoxes: { says: 'mAP of <OCR_WITH_REGION>', floor: 0.78, aim: 0.88 },
  referring: { says: 'mean IoU of <REFERRING_EXPRESSION_SEGMENTATION>', floor: 0.75, aim: 0.85 },
  regionOutlines: { says: 'mean IoU of <REGION_TO_SEGMENTATION>', floor: 0.78, aim: 0.88 },
  captions: { says: 'colour and shape words right in <CAPTION>', floor: 0.97, aim: 0.99 },
  printedWords: { says: 'printed words read exactly by <OCR>', floor: 0.97, aim: 0.99 },
  regions: { says: 'regions named right by <REGION_TO_CATEGORY>', floor: 0.98, aim: 0.99 },
  absent: { says: 'absent objects answered with nothing (wide scenes)', floor: 0.9, aim: 0.95 },
} as const;

export type FigureName = keyof typeof FIGURES;

const scenesAtOnce = 32;
const answersAtOnce = 64;

/** Runs all requests about scenes greedily and measures the answers. */
export async function evaluate(florence: Florence2, options: EvaluationOptions): Promise<DemoFigures> {
  const { seed, scenes, constrain, onProgress, ...sceneOptions } = options;
  const evaluator = new Evaluator();
  const captions = new Map<string, Share>(); // by task
  const printed = new Share();
  const absent = new Share();
  const scores = new ScoreMeter();
  for (let first = 0; first < scenes; first += scenesAtOnce) {
    const count = Math.min(scenesAtOnce, scenes - first);
    const drawn = Array.from({ length: count }, (_, i) => drawScene(seed, first + i, sceneOptions));
    for (const { target, result } of await answers(florence, drawn, constrain)) {
      evaluator.add(target, { width: SCENE_SIDE, height: SCENE_SIDE }, result);
      scores.add(target, { width: SCENE_SIDE, height: SCENE_SIDE }, result);
      if (isAbsent(target)) absent.add(isEmpty(result) ? 1 : 0, 1);
      if (!('text' in result) || typeof target.answer === 'string' || !('text' in target.answer)) continue;
      const [truth, said] = [target.answer.text, result.text];
      if (target.task.endsWith('CAPTION>')) {
        const share = captions.get(target.task) ?? new Share();
        captions.set(target.task, share);
        const { right, total } = wordsRight(truth, said);
        share.add(right, total);
      }
      if (target.task === '<OCR>' && truth !== '') printed.add(exactMatch(truth, said), 1);
    }
    onProgress?.(first + count);
  }
  const tasks = evaluator.metrics();
  for (const [task, share] of captions) tasks[task].wordsRight = share.value;
  const figures = {
    detection: tasks['<OD>'].mAP,
    detection50: tasks['<OD>'].mAP50,
    denseCaptions: tasks['<DENSE_REGION_CAPTION>'].mAP,
    openVocabulary: tasks['<OPEN_VOCABULARY_DETECTION>'].mAP,
    proposals: tasks['<REGION_PROPOSAL>'].mAP,
    printedBoxes: tasks['<OCR_WITH_REGION>'].mAP,
    referring: tasks['<REFERRING_EXPRESSION_SEGMENTATION>'].meanIoU,
    regionOutlines: tasks['<REGION_TO_SEGMENTATION>'].meanIoU,
    captions: tasks['<CAPTION>'].wordsRight,
    printedWords: printed.value,
    regions: tasks['<REGION_TO_CATEGORY>'].exactMatch,
    absent: absent.value,
  };
  return { suite: sceneOptions.suite ?? 'plain', seed, scenes, figures, tasks, scores: scores.figures() };
}

/** Returns whether a question is about an object that is not in the scene. */
function isAbsent({ answer }: Target): boolean {
  if (typeof answer === 'string') return false;
  return 'boxes' in answer ? answer.boxes.length === 0 : 'instances' in answer && answer.instances.length === 0;
}

const isEmpty = (result: TaskResult): boolean =>
  (!('boxes' in result) || result.boxes.length === 0) && (!('instances' in result) || result.instances.length === 0);

/**
 * Returns the answers to all targets of some scenes. Targets are sorted by task: answers in a batch have similar
 * lengths.
 */
async function answers(
  florence: Florence2,
  scenes: ReturnType<typeof drawScene>[],
  constrain = false,
): Promise<{ target: Target; result: TaskResult }[]> {
  const features = await florence.encodeImages(scenes.map(({ image }) => image));
  try {
    const asked = scenes.flatMap(({ targets }, i) => targets.map(target => ({ target, image: features[i] })));
    asked.sort((a, b) => (a.target.task < b.target.task ? -1 : a.target.task > b.target.task ? 1 : 0));
    const answered: { target: Target; result: TaskResult }[] = [];
    for (let i = 0; i < asked.length; i += answersAtOnce) {
      const batch = asked.slice(i, i + answersAtOnce);
      const requests = batch.map(({ target: { task, text, box }, image }) => ({ image, task, text, box }));
      const results = await florence.runBatch(requests, { numBeams: 1, doSample: false, constrain });
      answered.push(...batch.map(({ target }, j) => ({ target, result: results[j] })));
    }
    return answered;
  } finally {
    for (const image of features) image.dispose();
  }
}

/** A ratio whose parts are accumulated. */
class Share {
  private part = 0;
  private whole = 0;

  add(part: number, whole: number): void {
    this.part += part;
    this.whole += whole;
  }

  /** 0 to 1; NaN if nothing was added. */
  get value(): number {
    return this.part / this.whole;
  }
}
