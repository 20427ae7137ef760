import type { LoadOptions, Progress } from '../../checkpoint/load.ts';
import type { HookFilter } from '../../hooks/hooks.ts';
import type { DecodeOptions } from '../../image/types.ts';
import type { BackendChoice } from '../../runtime/backend.ts';
import type { TaskArguments } from '../../text/prompt.ts';

/** One of two runs: a checkpoint, as it is or with an adapter, on a backend. */
export interface RunSpec extends Pick<LoadOptions, 'backend' | 'revision' | 'imageSize'> {
  /** A folder, or an id on the hub. */
  model: string;
  /** A LoRA adapter, a folder as PEFT saves it. */
  adapter?: string;
}

export interface DiffOptions extends TaskArguments, DecodeOptions {
  /** A task token (`<OD>`), or a prompt of your own. */
  task: string;
  /** Which hook points are compared. Default: all. */
  at?: HookFilter;
  /** A point whose relative difference is above it departs. Default 1e-3. */
  tolerance?: number;
  /** Longest answer. */
  maxNewTokens?: number;
  signal?: AbortSignal;
  /** Follows the loading of both models. */
  onProgress?: (progress: Progress) => void;
  /** Called after each image. */
  onImage?: (report: ImageDiff) => void;
}

/** One hook point in both runs. */
export interface DiffRow {
  readonly name: string;
  /** In run A; in B where A has no such point. */
  readonly shape: number[];
  /** Largest |b - a|; infinite where the two cannot be compared. */
  readonly maxAbs: number;
  /** Root mean square of b - a by that of a: ‖b - a‖ / ‖a‖ */
  readonly relative: number;
  /** The relative difference is above the tolerance. */
  readonly departs: boolean;
  /** The first point, in execution order, that departs. */
  readonly firstDeparture: boolean;
  /** Why the two cannot be compared, or what of them is. */
  readonly remark?: string;
}

/** The model's own greedy answer. */
export interface RunAnswer {
  /** Behind the start token. */
  readonly ids: number[];
  readonly text: string;
}

export interface ImageDiff {
  readonly image: string;
  /** Of a pass over the whole of A's answer, which both runs are given. */
  readonly rows: DiffRow[];
  readonly answers: { readonly a: RunAnswer; readonly b: RunAnswer };
  /** Every token of the two answers is the same. */
  readonly sameAnswer: boolean;
}

export interface DiffReport {
  readonly a: RunSpec & { readonly ranOn: BackendChoice };
  readonly b: RunSpec & { readonly ranOn: BackendChoice };
  readonly tolerance: number;
  readonly images: ImageDiff[];
  /** No point of any image departs. */
  readonly within: boolean;
}

/** Backends differ by less, a fine-tuning by more. */
export const DIFF_TOLERANCE = 1e-3;
