import type { LoraOptions } from '../adapters/lora.ts';
import type { Dataset } from '../datasets/example.ts';
import { UsageError } from '../errors.ts';
import type { AugmentOptions } from './augment/augment.ts';
import type { StepRecord, ValidationRecord } from './log/records.ts';
import { type MapStore, mapStores } from './map_cache.ts';
import type { WeightedDataset } from './mixture.ts';
import { type ScheduleName, scheduleNames } from './optimizer.ts';

export interface TrainerOptions {
  /** Folder of the run: `latest/`, `best/`, metrics.jsonl and curves.svg. */
  output: string;
  train: Dataset | WeightedDataset[];
  valid?: Dataset;
  /** Passes over the training data. Default 1. */
  epochs?: number;
  /** Ends the run sooner. */
  maxSteps?: number;
  /** Images that are run together. Default 1. */
  batchSize?: number;
  /** Batches whose gradients make one step. Default 1. */
  accumulate?: number;
  /** Most targets of an image in one step, drawn by chance in each epoch. Default: all that it has. */
  targetsPerImage?: number;
  /** The highest rate. Default 1e-4 for LoRA, else 1e-5. */
  learningRate?: number;
  /** Default `linear`: down to 0 at the end. */
  schedule?: ScheduleName;
  /** Steps in which the rate rises from 0. Default 0. */
  warmupSteps?: number;
  /** Default 0.01. */
  weightDecay?: number;
  /** What decays: every parameter, all but biases and norms, or those of these names. Default `matrices`. */
  decay?: 'all' | 'matrices' | RegExp;
  /** Of AdamW. Default [0.9, 0.999]. */
  betas?: [number, number];
  /** Of AdamW. Default 1e-8. */
  epsilon?: number;
  /** The norm of all gradients is clipped to this. Default 1. */
  maxGradNorm?: number;
  /** Share of the probability that targets spread over the vocabulary. Default 0. */
  labelSmoothing?: number;
  /** What a location token counts for in the loss, beside 1 for all others. Default 1. */
  locationWeight?: number;
  /** Dropout and drop path at the rates of config.json. Default true. */
  dropout?: boolean;
  /** Of everything that is random. Default 0. */
  seed?: number;
  /**
   * Parameters that are not trained: names, what names begin with before a dot, or regular expressions. Default: the
   * vision tower. Not for LoRA, which freezes everything but itself.
   */
  freeze?: (string | RegExp)[];
  /** Train a LoRA adapter. Default: the model's own parameters. */
  lora?: LoraOptions;
  /** Words that become tokens of their own before the training, see `addTokens`. With LoRA all embeddings are trained. */
  newTokens?: string[];
  /** Compute the insides of blocks twice instead of keeping them. Default: when the vision tower is trained. */
  gradientCheckpointing?: boolean;
  /** Where image features are kept while the vision tower is frozen and nothing is augmented. Default `memory`. */
  featureCache?: MapStore;
  /** Most bytes of features that are kept. Default 2 GiB. */
  featureCacheBytes?: number;
  /** Steps between validations. Default: each epoch. */
  validateEvery?: number;
  /** Most examples of a validation. Default: all. */
  validateExamples?: number;
  /** Steps between saves. Default: each epoch. */
  saveEvery?: number;
  /** Go on from `latest` where the output folder has one. Default false. */
  resume?: boolean;
  augment?: AugmentOptions;
  onStep?: (record: StepRecord) => void;
  onValidation?: (record: ValidationRecord) => void;
}

const DEFAULTS = {
  epochs: 1,
  batchSize: 1,
  accumulate: 1,
  schedule: 'linear',
  warmupSteps: 0,
  weightDecay: 0.01,
  decay: 'matrices',
  betas: [0.9, 0.999],
  epsilon: 1e-8,
  maxGradNorm: 1,
  labelSmoothing: 0,
  locationWeight: 1,
  dropout: true,
  seed: 0,
  freeze: [/^vision_tower\./],
  featureCache: 'memory',
  featureCacheBytes: 2 * 2 ** 30,
  resume: false,
} satisfies Partial<TrainerOptions>;

export type TrainerSettings = TrainerOptions & Required<Pick<TrainerOptions, keyof typeof DEFAULTS | 'learningRate'>>;

/** Fills in the defaults. @throws UsageError naming an option that is out of its range */
export function resolveOptions(options: TrainerOptions): TrainerSettings {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const settings = {
    learningRate: options.lora ? 1e-4 : 1e-5,
    ...DEFAULTS,
    ...given,
  } as TrainerSettings;
  const require = (valid: boolean, name: keyof TrainerOptions, expected: string): void => {
    if (!valid) throw new UsageError(`${name} must be ${expected}, not ${JSON.stringify(settings[name])}.`);
  };
  const counts = ['epochs', 'maxSteps', 'batchSize', 'accumulate', 'targetsPerImage', 'validateEvery'] as const;
  for (const name of [...counts, 'validateExamples', 'saveEvery'] as const) {
    const value = settings[name];
    require(value === undefined || (Number.isSafeInteger(value) && value >= 1), name, 'a whole number from 1');
  }
  for (const name of ['learningRate', 'maxGradNorm', 'epsilon'] as const) {
    require(settings[name] > 0 && Number.isFinite(settings[name]), name, 'a number above 0');
  }
  for (const name of ['weightDecay', 'locationWeight', 'featureCacheBytes', 'warmupSteps'] as const) {
    require(settings[name] >= 0 && Number.isFinite(settings[name]), name, 'a number of at least 0');
  }
  const isShare = (value: number): boolean => value >= 0 && value < 1;
  const { betas, decay } = settings;
  require(isShare(settings.labelSmoothing), 'labelSmoothing', 'at least 0 and below 1');
  require(betas.length === 2 && betas.every(isShare), 'betas', 'two numbers of at least 0 and below 1');
  const isDecay = decay instanceof RegExp || ['all', 'matrices'].includes(decay);
  require(isDecay, 'decay', 'all, matrices or a regular expression');
  require(scheduleNames.includes(settings.schedule), 'schedule', `one of ${scheduleNames.join(', ')}`);
  require(mapStores.includes(settings.featureCache), 'featureCache', `one of ${mapStores.join(', ')}`);
  require(Number.isSafeInteger(settings.seed), 'seed', 'a whole number');
  if (options.lora && options.freeze) {
    throw new UsageError('freeze is not for LoRA, which trains nothing but its adapter: choose its targets instead.');
  }
  return settings;
}
