import type { LoraOptions } from '../adapters/lora.ts';
import type { Dataset } from '../datasets/example.ts';
import { UsageError } from '../errors.ts';
import {
  anything,
  callback,
  checkOptions,
  count,
  integer,
  number,
  type OptionTable,
  oneOf,
  onOff,
  positive,
  rate,
  share,
  text,
} from '../options.ts';
import type { AugmentOptions } from './augment/augment.ts';
import type { StepRecord, ValidationProgress, ValidationRecord } from './log/records.ts';
import { MAP_STORES, type MapStore } from './map_cache.ts';
import type { WeightedDataset } from './mixture.ts';
import { SCHEDULE_NAMES, type ScheduleName } from './optimizer.ts';

/** Options of `Trainer`. */
export interface TrainerOptions {
  /** Folder of the run: `latest/`, `best/`, metrics.jsonl, metrics.csv, TensorBoard events and curves.svg. */
  output: string;
  /** Training data: one dataset, or several with the share of each that an epoch draws. */
  train: Dataset | WeightedDataset[];
  /** Validation data, one dataset or several, which are also measured one by one. Default: none, and no `best/`. */
  valid?: Dataset | Dataset[];
  /** Passes over the training data. Default 1. */
  epochs?: number;
  /** Largest number of optimizer steps. Default: unlimited. */
  maxSteps?: number;
  /** Images per forward and backward pass. Default 1. */
  batchSize?: number;
  /** Batches whose gradients are summed for one optimizer step. Default 1. */
  accumulate?: number;
  /** Largest number of targets per image and step, sampled anew in each epoch. Default: all of them. */
  targetsPerImage?: number;
  /** Maximum learning rate. Default 1e-4 for LoRA, else 1e-5. */
  learningRate?: number;
  /** Learning rate schedule after the warm-up. Default `linear`, which falls to 0 at the end of the run. */
  schedule?: ScheduleName;
  /** Steps over which the learning rate rises linearly from 0. Default 0. */
  warmupSteps?: number;
  /** The same as a share of all steps, rounded up. Default: `warmupSteps` counts. */
  warmupRatio?: number;
  /** Decoupled weight decay of AdamW. Default 0.01. */
  weightDecay?: number;
  /**
   * Parameters that decay: `all`, `matrices` (all but biases and norms), or those whose names match the expression.
   * Default `matrices`.
   */
  decay?: 'all' | 'matrices' | RegExp;
  /** AdamW's decay rates of the running means. Default [0.9, 0.999]. */
  betas?: [number, number];
  /** AdamW's epsilon. Default 1e-8. */
  epsilon?: number;
  /** Gradients are clipped to this global norm. Default 1. */
  maxGradNorm?: number;
  /** Label smoothing: share of the target probability that is spread over the vocabulary, below 1. Default 0. */
  labelSmoothing?: number;
  /** Loss weight of location tokens; other tokens have weight 1. Default 1. */
  locationWeight?: number;
  /** Whether to apply dropout and drop path at the rates of config.json. Default true. */
  dropout?: boolean;
  /** Seed of all random numbers of the run. Default 0. */
  seed?: number;
  /**
   * Parameters that are not trained: names of parameters or of modules, or regular expressions. Default: the vision
   * tower. Not allowed with LoRA, which trains only the adapter.
   */
  freeze?: (string | RegExp)[];
  /**
   * Trains a LoRA adapter with these options, or further trains a copy of the loaded adapter of this name. Default: the
   * model's own parameters are trained.
   */
  lora?: LoraOptions | string;
  /** Tokens to add before training, see `addTokens`. With LoRA, the whole embedding table is then trained too. */
  newTokens?: string[];
  /**
   * Recomputes the intermediates of blocks in the backward pass instead of keeping them: less memory, more time.
   * Default: true if the vision tower is trained.
   */
  gradientCheckpointing?: boolean;
  /**
   * Where the vision tower's feature maps are cached between epochs. Used only if the tower is frozen and `augment` is
   * not set. Default `memory`.
   */
  featureCache?: MapStore;
  /** Size limit of that cache in bytes. Default 2 GiB. */
  featureCacheBytes?: number;
  /** Leaves out examples that cannot be read, and lists them in the summary. Default false: the first ends the run. */
  skipBad?: boolean;
  /** Steps between validations. Default: one after each epoch. */
  validateEvery?: number;
  /** Largest number of examples per validation, a random sample of all datasets that stays the same. Default: all. */
  validateExamples?: number;
  /**
   * What `best/` is the best by: `loss`, a metric of a task (`od/mAP`, `caption/editSimilarity`, `od/AP/car`), or a metric
   * as the mean over all tasks that have it (`mAP`). Default `loss`.
   */
  bestBy?: string;
  /** Ends the run after this many validations without a better one. Default: never. */
  patience?: number;
  /** Steps between saves of `latest/`. Default: one after each epoch. */
  saveEvery?: number;
  /** Number of saves that are kept: `latest/`, and the ones before it in folders such as `step-000120/`. Default 1. */
  keepLast?: number;
  /** Resumes from `latest/` if the output folder has one. Default false. */
  resume?: boolean;
  /** Resumes also if the data or the options are not those of the run. Default false: that is an error. */
  force?: boolean;
  /** Draws the first steps and some answers of each validation into `pictures/`. Default true. */
  pictures?: boolean;
  /** Random changes of the training images. Default: none. */
  augment?: AugmentOptions;
  /** Receives warnings, such as a full disk that stops the caching of feature maps. Default `console.warn`. */
  onWarning?: (message: string) => void;
  /** Called after each optimizer step. */
  onStep?: (record: StepRecord) => void;
  /** Called after each validation. */
  onValidation?: (record: ValidationRecord) => void;
  /** Called during a validation with the number of images that are done and that of all. */
  onValidationProgress?: ValidationProgress;
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
  skipBad: false,
  bestBy: 'loss',
  keepLast: 1,
  pictures: true,
  onWarning: (message: string) => console.warn(message),
  resume: false,
  force: false,
} satisfies Partial<TrainerOptions>;

/** Options that are objects, lists of datasets or patterns are checked where they are used. */
const KINDS: OptionTable<TrainerOptions> = {
  ...{
    output: text,
    train: anything,
    valid: anything,
    freeze: anything,
    lora: anything,
    newTokens: anything,
    bestBy: text,
  },
  ...{ epochs: count, maxSteps: count, batchSize: count, accumulate: count, targetsPerImage: count },
  ...{ validateEvery: count, validateExamples: count, saveEvery: count, patience: count, keepLast: count },
  ...{ learningRate: positive, maxGradNorm: positive, epsilon: positive },
  ...{ weightDecay: number, locationWeight: number, featureCacheBytes: number, warmupSteps: number },
  schedule: oneOf(...SCHEDULE_NAMES),
  decay: {
    expected: 'all, matrices or a regular expression',
    allows: value => value instanceof RegExp || value === 'all' || value === 'matrices',
  },
  betas: {
    expected: 'two numbers of at least 0 and below 1',
    allows: value => Array.isArray(value) && value.length === 2 && value.every(rate.allows),
  },
  ...{ labelSmoothing: rate, warmupRatio: share },
  ...{ dropout: onOff, gradientCheckpointing: onOff, resume: onOff, force: onOff, skipBad: onOff, pictures: onOff },
  seed: integer,
  featureCache: oneOf(...MAP_STORES),
  ...{
    augment: anything,
    onStep: callback,
    onValidation: callback,
    onValidationProgress: callback,
    onWarning: callback,
  },
};

/** The options with all defaults filled in. */
export type TrainerSettings = TrainerOptions & Required<Pick<TrainerOptions, keyof typeof DEFAULTS | 'learningRate'>>;

/** Returns the options with defaults filled in. @throws UsageError for an option that is out of range */
export function resolveOptions(options: TrainerOptions): TrainerSettings {
  checkOptions('Trainer', options, KINDS);
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  const settings = {
    learningRate: options.lora ? 1e-4 : 1e-5,
    ...DEFAULTS,
    ...given,
  } as TrainerSettings;
  if (options.lora && options.freeze) {
    throw new UsageError(
      'freeze cannot be combined with lora, which trains only the adapter: choose the layers with lora.targets.',
    );
  }
  if (options.warmupSteps && options.warmupRatio !== undefined) {
    throw new UsageError('warmupSteps and warmupRatio exclude each other: remove one.');
  }
  if (typeof options.lora === 'string' && options.newTokens) {
    throw new UsageError('newTokens needs a new adapter, but lora names an adapter to train further.');
  }
  return settings;
}
