import type { TrainerOptions } from '../../src/training/options.ts';
import type { SceneDatasetOptions } from './dataset.ts';
import { TRAINING_SEEDS } from './seeds.ts';

type Rates = Required<Pick<TrainerOptions, 'learningRate' | 'schedule' | 'warmupSteps' | 'locationWeight'>>;

/** One stage of the demo checkpoint's training. */
export interface Stage extends Rates {
  name: string;
  /** Seed of its scenes. */
  seed: number;
  /** Kinds of scenes, drawn equally often. Validation scenes are of the first kind. */
  scenes: readonly SceneDatasetOptions[];
  steps: number;
}

/** Images of a training step. */
export const IMAGES_PER_STEP = 16;

/** Questions about each of them. */
export const TARGETS_PER_SCENE = 4;

/** Rates of the first stages. Outlines are long and would otherwise dominate the loss while words are learnt. */
const wordsFirst: Rates = { learningRate: 6e-4, schedule: 'constant', warmupSteps: 50, locationWeight: 0.3 };

/** Rates of the stages after them. */
const thenPlaces: Rates = { ...wordsFirst, learningRate: 4e-4, schedule: 'linear' };

const wholeScenes: SceneDatasetOptions = { signs: 0.5 };
const signsAlone: SceneDatasetOptions = {
  ...{ objects: 0, signs: 1 },
  tasks: ['<OCR>', '<OCR_WITH_REGION>', '<REGION_TO_OCR>', '<REGION_TO_DESCRIPTION>'],
};
const whereIsIt: SceneDatasetOptions = {
  ...wholeScenes,
  tasks: [
    ...['<REFERRING_EXPRESSION_SEGMENTATION>', '<OPEN_VOCABULARY_DETECTION>'],
    ...['<CAPTION_TO_PHRASE_GROUNDING>', '<REGION_TO_SEGMENTATION>'],
  ],
};
/** The same, with two tasks that would otherwise be forgotten. */
const whereIsItAndWhat: SceneDatasetOptions = { ...whereIsIt, tasks: [...whereIsIt.tasks!, '<OCR>', '<CAPTION>'] };

/** More questions of the tasks that are learnt last. */
const whatLags = {
  '<REFERRING_EXPRESSION_SEGMENTATION>': 2.5,
  '<REGION_TO_SEGMENTATION>': 2,
  '<OPEN_VOCABULARY_DETECTION>': 2,
  '<REGION_PROPOSAL>': 1.5,
  '<DENSE_REGION_CAPTION>': 1.5,
  '<CAPTION>': 0.75,
};

const wideScenes: SceneDatasetOptions = { ...wholeScenes, suite: 'wide' };

/** Wide scenes: words in all fonts, and questions that name one object among others or none of them. */
const wideSigns: SceneDatasetOptions = { ...signsAlone, suite: 'wide' };
const whichOfThem: SceneDatasetOptions = {
  ...{ suite: 'wide', signs: 0.25 },
  tasks: ['<REFERRING_EXPRESSION_SEGMENTATION>', '<OPEN_VOCABULARY_DETECTION>'],
};

/**
 * The first stage teaches words with one large object per scene. With small objects, ten times as many steps do not
 * teach colours, because so little of the decoder's input depends on the object. Later stages have smaller objects,
 * several of them, and signs alone. Then come stages that find and outline things by name, which takes longest. The last
 * two have both suites of scenes and all tasks, and their loss counts coordinates like words. The last one asks more
 * about signs, and about one object among others.
 */
export const stages: readonly Stage[] = [
  {
    ...{ name: 'large-object', seed: TRAINING_SEEDS[0], scenes: [{ objects: 1, scale: 2, signs: 0 }], steps: 400 },
    ...{ ...wordsFirst, warmupSteps: 200 },
  },
  {
    ...{ name: 'smaller-object', seed: TRAINING_SEEDS[1], scenes: [{ objects: 1, scale: 1.4, signs: 0.5 }] },
    ...{ ...wordsFirst, steps: 300 },
  },
  { name: 'whole-scenes', seed: TRAINING_SEEDS[2], scenes: [wholeScenes], steps: 500, ...wordsFirst },
  { name: 'reading', seed: TRAINING_SEEDS[3], scenes: [wholeScenes, signsAlone], steps: 1000, ...wordsFirst },
  { name: 'everything', seed: TRAINING_SEEDS[4], scenes: [wholeScenes], steps: 900, ...wordsFirst, schedule: 'linear' },
  { name: 'pointing', seed: TRAINING_SEEDS[5], scenes: [wholeScenes, whereIsIt], steps: 500, ...thenPlaces },
  {
    ...{ name: 'outlining', seed: TRAINING_SEEDS[6], scenes: [whereIsItAndWhat], steps: 240 },
    ...{ ...thenPlaces, warmupSteps: 30 },
  },
  {
    ...{ name: 'together', seed: TRAINING_SEEDS[7], steps: 3500 },
    scenes: [
      { ...wholeScenes, taskWeights: whatLags },
      { ...wideScenes, taskWeights: whatLags },
    ],
    ...{ ...thenPlaces, warmupSteps: 100, locationWeight: 1 },
  },
  {
    ...{ name: 'one-among-others', seed: TRAINING_SEEDS[8], steps: 3200 },
    scenes: [
      { ...wholeScenes, taskWeights: whatLags },
      { ...wideScenes, taskWeights: { ...whatLags, '<DENSE_REGION_CAPTION>': 3, '<OCR_WITH_REGION>': 3 } },
      ...[whichOfThem, wideSigns],
    ],
    ...{ ...thenPlaces, warmupSteps: 100, locationWeight: 1 },
  },
];
