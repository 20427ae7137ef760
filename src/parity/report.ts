import type { HookRegistry } from '../hooks/hooks.ts';
import type { BackendChoice, BackendName } from '../runtime/backend.ts';

/** The comparison of one tensor with the dump's. */
export interface TensorRow {
  /** File of the dump. */
  readonly file: string;
  readonly name: string;
  /** The hook point of the tensor. Absent for values computed from outputs, such as losses. */
  readonly point?: string;
  readonly shape: number[];
  /** Largest |ours − PyTorch's|. Equal means at most `tolerance`. */
  readonly maxAbs: number;
  /** ‖ours − PyTorch's‖ / ‖PyTorch's‖ */
  readonly relative: number;
  readonly tolerance: number;
  readonly equal: boolean;
  /** True for the first unequal tensor of the checkpoint in execution order: the mistake is just before it. */
  readonly firstDeparture: boolean;
  /** Describes what is wrong besides the difference, e.g. a wrong shape. */
  readonly problem?: string;
}

/** The comparison of one generated sequence with PyTorch's. */
export interface SequenceRow {
  readonly case: string;
  readonly index: number;
  /** True if all ids are the same and the score is within its tolerance. */
  readonly equal: boolean;
  /** Index of the first different token. */
  readonly firstDifference?: number;
  readonly expected: number[];
  readonly got: number[];
  /** |score − PyTorch's|, if the case has scores. */
  readonly scoreError?: number;
  readonly scoreTolerance?: number;
}

/** The comparison of one number or tensor of a training with PyTorch's. */
export interface TrainingRow {
  /** File of the reference. */
  readonly file: string;
  /** The kind of value, and how it was computed: `gradients, with checkpointing`. */
  readonly what: string;
  /** Name of the tensor or number. */
  readonly name: string;
  /** In the unit of `tolerance`, which depends on the kind of value: see tolerance.ts. */
  readonly difference: number;
  readonly tolerance: number;
  readonly equal: boolean;
  /** Describes what is wrong besides the difference, e.g. a wrong shape. */
  readonly problem?: string;
}

/** Parts of a dump that were not compared, and why. */
export interface NotCompared {
  readonly file: string;
  readonly names: string[];
  readonly reason: string;
}

/** All comparisons of one checkpoint. */
export interface CheckpointReport {
  readonly variant: string;
  /** Path of the weights, relative to the reference folder. */
  readonly checkpoint: string;
  readonly tensors: TensorRow[];
  readonly sequences: SequenceRow[];
  /** Empty without the option `training`. */
  readonly training: TrainingRow[];
  /** Parts of the dump that belong to other checkpoints. */
  readonly skipped: NotCompared[];
  /** Parts that the backend cannot compute or that cannot be compared. They count neither as equal nor as unequal. */
  readonly leftOut: NotCompared[];
}

/** All comparisons of one reference folder. */
export interface VariantReport {
  readonly variant: string;
  readonly folder: string;
  readonly checkpoints: CheckpointReport[];
  /** Parts of the dump that no checkpoint was compared with. They count as not equal. */
  readonly notCompared: NotCompared[];
  /** Files about training that were skipped, because the option `training` is off. */
  readonly training: string[];
}

/** How many comparisons are equal, out of how many. */
export interface Count {
  readonly equal: number;
  readonly total: number;
}

/** The result of `checkParity`. */
export interface ParityReport {
  /** The backend that ran. */
  readonly backend: BackendChoice;
  readonly variants: VariantReport[];
  readonly tensors: Count;
  readonly sequences: Count;
  /** Absent without the option `training`. */
  readonly training?: Count;
  /** True if everything was compared and is equal. */
  readonly equal: boolean;
}

/** The file of the network's inputs: ids, pixels, masks and labels. */
export const INPUT_FILE = 'inputs.safetensors';

/** The file of the generation cases. */
export const GENERATION_FILE = 'generation.json';

/** True for files about training. */
export const isTrainingFile = (file: string): boolean => /^(train|lora)\//.test(file);

/** Builds the report and its totals. Parts that were not compared count as not equal. */
export function summarise(backend: BackendChoice, variants: VariantReport[], withTraining: boolean): ParityReport {
  const checkpoints = variants.flatMap(variant => variant.checkpoints);
  const missed = variants.flatMap(variant => variant.notCompared);
  const count = (rows: { equal: boolean }[], isOne: (file: string) => boolean): Count => ({
    equal: rows.filter(({ equal }) => equal).length,
    total: missed.filter(({ file }) => isOne(file)).reduce((n, { names }) => n + names.length, rows.length),
  });
  const isGeneration = (file: string): boolean => file === GENERATION_FILE;
  const tensors = count(
    checkpoints.flatMap(report => report.tensors),
    file => !isGeneration(file) && !isTrainingFile(file),
  );
  const sequences = count(
    checkpoints.flatMap(report => report.sequences),
    isGeneration,
  );
  const training = count(
    checkpoints.flatMap(report => report.training),
    isTrainingFile,
  );
  const counts = [tensors, sequences, training];
  const equal = counts.every(({ equal, total }) => equal === total) && (withTraining ? training : tensors).total > 0;
  return { backend, variants, tensors, sequences, ...(withTraining && { training }), equal };
}

/** Options of `checkParity`. */
export interface ParityOptions {
  /** TensorFlow.js backend. Default `auto`: the fastest one that works. */
  backend?: BackendName | 'auto';
  /** Also repeat and compare every recorded training. Default false. */
  training?: boolean;
  /** Hooks to run during the comparison. An activation that they replace is compared as replaced. */
  hooks?: HookRegistry;
  /** Called with the comparisons of each checkpoint when they are complete. */
  onCheckpoint?: (report: CheckpointReport) => void;
}
