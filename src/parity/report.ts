import type { HookRegistry } from '../hooks/hooks.ts';
import type { BackendChoice, BackendName } from '../runtime/backend.ts';

/** One tensor against the dump's. */
export interface TensorRow {
  /** File of the dump. */
  readonly file: string;
  readonly name: string;
  /** The hook point at which the network was read; absent for what is computed from its outputs. */
  readonly point?: string;
  readonly shape: number[];
  /** Largest |ours - PyTorch's|, which `tolerance` bounds. */
  readonly maxAbs: number;
  /** ‖ours - PyTorch's‖ / ‖PyTorch's‖ */
  readonly relative: number;
  readonly tolerance: number;
  readonly equal: boolean;
  /** The first tensor of its checkpoint, in execution order, that is not equal: the mistake lies just before it. */
  readonly firstDeparture: boolean;
  /** What is wrong, apart from a difference beyond the tolerance. */
  readonly problem?: string;
}

/** One generated sequence against PyTorch's. */
export interface SequenceRow {
  readonly case: string;
  readonly index: number;
  /** Every id is the same, and the score within its tolerance. */
  readonly equal: boolean;
  /** Index of the first token that differs. */
  readonly firstDifference?: number;
  readonly expected: number[];
  readonly got: number[];
  /** |score - PyTorch's|, where the case has scores. */
  readonly scoreError?: number;
  readonly scoreTolerance?: number;
}

/** One number, or one tensor, of a training against PyTorch's. */
export interface TrainingRow {
  /** File of the reference. */
  readonly file: string;
  /** What of it, and how it was made here: `gradients, with checkpointing`. */
  readonly what: string;
  /** The tensor, or which number. */
  readonly name: string;
  /** Counted as `tolerance` is, which bounds it: see training_tolerance.ts. */
  readonly difference: number;
  readonly tolerance: number;
  readonly equal: boolean;
  /** What is wrong, apart from a difference beyond the tolerance. */
  readonly problem?: string;
}

/** Parts of a dump. */
export interface NotCompared {
  readonly file: string;
  readonly names: string[];
  readonly reason: string;
}

/** What one checkpoint of a folder computes. */
export interface CheckpointReport {
  readonly variant: string;
  /** The weights, from the reference folder. */
  readonly checkpoint: string;
  readonly tensors: TensorRow[];
  readonly sequences: SequenceRow[];
  /** Empty where training was not asked for. */
  readonly training: TrainingRow[];
  /** Parts of the dump that this checkpoint cannot make. */
  readonly skipped: NotCompared[];
  /** What the backend cannot make, or nobody could: it counts neither as equal nor as unequal. */
  readonly leftOut: NotCompared[];
}

/** One reference folder. */
export interface VariantReport {
  readonly variant: string;
  readonly folder: string;
  readonly checkpoints: CheckpointReport[];
  /** What no checkpoint was compared with, though one should make it. Anything here means not equal. */
  readonly notCompared: NotCompared[];
  /** Files of the manifest about training, where that was not asked for. */
  readonly training: string[];
}

export interface Count {
  readonly equal: number;
  readonly total: number;
}

export interface ParityReport {
  readonly backend: BackendChoice;
  readonly variants: VariantReport[];
  readonly tensors: Count;
  readonly sequences: Count;
  /** Absent where training was not asked for. */
  readonly training?: Count;
  /** Everything was compared, and is equal. */
  readonly equal: boolean;
}

/** Ids, pixels, masks and labels: what the network is given. */
export const INPUT_FILE = 'inputs.safetensors';

/** Where the cases of generation are. */
export const GENERATION_FILE = 'generation.json';

/** Files about training. */
export const isTrainingFile = (file: string): boolean => /^(train|lora)\//.test(file);

/** Adds up. What was not compared counts as not equal. */
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

export interface ParityOptions {
  /** Default `auto`. */
  backend?: BackendName | 'auto';
  /** Train as well, in every way that the folder has recorded. Default false. */
  training?: boolean;
  /** Hooks that run along: what they put in an activation's place is what is compared. */
  hooks?: HookRegistry;
  /** Called after each checkpoint. */
  onCheckpoint?: (report: CheckpointReport) => void;
}
