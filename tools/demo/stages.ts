import type { TrainerOptions } from '../../src/training/trainer.ts';
import type { SceneOptions } from './layout.ts';
import { TRAINING_SEEDS } from './seeds.ts';

/** A part of the demo checkpoint's training. */
export interface Stage extends Pick<TrainerOptions, 'learningRate' | 'schedule' | 'warmupSteps'> {
  name: string;
  /** Of its scenes. */
  seed: number;
  scenes: SceneOptions;
  steps: number;
}

export const imagesPerStep = 8;
export const targetsPerImage = 4;

/**
 * Words and places are learnt from one object first, then what stands next to what. The rate stays as it is until the
 * last stage, so the second can be as long as there is time. At 1e-3 places are learnt sooner and colours never.
 */
export const stages = (steps: number): Stage[] => [
  {
    ...{ name: 'one-object', seed: TRAINING_SEEDS[0], scenes: { objects: 1 }, steps: 2000 },
    ...{ learningRate: 3e-4, schedule: 'constant', warmupSteps: 100 },
  },
  {
    ...{ name: 'whole-scenes', seed: TRAINING_SEEDS[1], scenes: {}, steps },
    ...{ learningRate: 3e-4, schedule: 'constant', warmupSteps: 0 },
  },
  {
    ...{ name: 'cool-down', seed: TRAINING_SEEDS[2], scenes: {}, steps: 4000 },
    ...{ learningRate: 3e-4, schedule: 'linear', warmupSteps: 0 },
  },
];
