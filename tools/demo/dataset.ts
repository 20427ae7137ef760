import type { Dataset, Target, TrainingExample } from '../../src/datasets/example.ts';
import { randomStream } from '../../src/random.ts';
import { SCENE_SIDE, type SceneOptions } from './layout.ts';
import { drawScene } from './scene.ts';

export interface SceneDatasetOptions extends SceneOptions {
  /** Number of targets drawn for each scene, of different tasks while there are any. Default: all. */
  targetsPerScene?: number;
  /** Tasks to draw targets of. Default: all. */
  tasks?: readonly string[];
  /** Relative frequency of tasks, where it differs from the usual one. */
  taskWeights?: Readonly<Record<string, number>>;
}

/** Relative frequency of each task among those that a scene has targets for. */
const usualWeights: Record<string, number> = {
  '<CAPTION>': 1.5,
  '<DETAILED_CAPTION>': 1,
  '<MORE_DETAILED_CAPTION>': 1,
  '<OD>': 2,
  '<DENSE_REGION_CAPTION>': 1,
  '<REGION_PROPOSAL>': 1,
  '<CAPTION_TO_PHRASE_GROUNDING>': 1,
  '<REFERRING_EXPRESSION_SEGMENTATION>': 2,
  '<REGION_TO_SEGMENTATION>': 1,
  '<OPEN_VOCABULARY_DETECTION>': 1.5,
  '<REGION_TO_CATEGORY>': 1.5,
  '<REGION_TO_DESCRIPTION>': 1,
  '<OCR>': 2,
  '<OCR_WITH_REGION>': 2,
  '<REGION_TO_OCR>': 2,
};

/** Weight of OCR tasks on scenes without text, whose empty answer is learnt quickly. */
const nothingToRead = 0.1;

/** Returns a dataset of the first `length` scenes of a seed. */
export function sceneDataset(seed: number, length: number, options: SceneDatasetOptions = {}): Dataset {
  const { targetsPerScene, tasks, taskWeights, ...scene } = options;
  const weights = { ...usualWeights, ...taskWeights };
  return {
    name: `scenes of seed ${seed}`,
    length,
    example(index): TrainingExample {
      const { image, sign, targets } = drawScene(seed, index, scene);
      const all = tasks ? targets.filter(({ task }) => tasks.includes(task)) : targets;
      const chosen =
        targetsPerScene === undefined
          ? all
          : drawTargets(all, targetsPerScene, weights, sign !== null, randomStream(seed, 'targets', index));
      const imageSize = { width: SCENE_SIDE, height: SCENE_SIDE };
      return { image, imageSize, targets: chosen, source: `scene ${index} of seed ${seed}` };
    },
  };
}

/** Draws `count` targets of tasks that differ while there are enough: a task by its weight, then one of its targets. */
function drawTargets(
  all: Target[],
  count: number,
  weights: Record<string, number>,
  hasText: boolean,
  random: () => number,
): Target[] {
  const weightOf = (task: string) => weights[task] * (!hasText && task.includes('OCR') ? nothingToRead : 1);
  const chosen: Target[] = [];
  let left = all;
  let tasks = new Set<string>();
  while (chosen.length < count && left.length > 0) {
    if (tasks.size === 0) tasks = new Set(left.map(({ task }) => task));
    const task = drawWeighted([...tasks], weightOf, random);
    const targets = left.filter(target => target.task === task);
    const target = targets[Math.floor(random() * targets.length)];
    chosen.push(target);
    left = left.filter(other => other !== target);
    tasks.delete(task);
  }
  return chosen;
}

function drawWeighted<T>(list: T[], weightOf: (item: T) => number, random: () => number): T {
  let at = random() * list.reduce((sum, item) => sum + weightOf(item), 0);
  for (const item of list) {
    at -= weightOf(item);
    if (at < 0) return item;
  }
  return list[list.length - 1];
}
