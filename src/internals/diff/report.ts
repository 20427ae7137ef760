import { LOAD_OPTIONS, type LoadOptions, type Progress } from '../../checkpoint/load.ts';
import type { HookFilter } from '../../hooks/hooks.ts';
import { DECODE_OPTIONS, type DecodeOptions, type ImageInput } from '../../image/types.ts';
import { isRecord } from '../../json.ts';
import {
  abortSignal,
  anything,
  callback,
  count,
  type Kind,
  number,
  type OptionTable,
  required,
  text,
} from '../../options.ts';
import type { BackendChoice } from '../../runtime/backend.ts';
import { TASK_ARGUMENTS, type TaskArguments } from '../../text/prompt.ts';

/** One of two runs: a checkpoint, optionally with an adapter, on a backend. */
export interface RunSpec extends Pick<LoadOptions, 'backend' | 'revision' | 'subfolder' | 'processor' | 'imageSize'> {
  /** Folder of the checkpoint, or its id on the Hugging Face hub. */
  model: string;
  /** LoRA adapter in PEFT's format, as a folder or hub id. Default: no adapter. */
  adapter?: string;
  /** Branch, tag or commit of the adapter on the hub. Default `main`. */
  adapterRevision?: string;
}

/** Options of `diffRuns`. */
export interface DiffOptions extends TaskArguments, DecodeOptions {
  /** A task token (`<OD>`), or a custom prompt. */
  task: string;
  /** Hook points to compare. Default: all. */
  at?: HookFilter;
  /** Largest relative difference at which a point does not count as departing. Default 1e-3. */
  tolerance?: number;
  /** Maximum length of the answers in tokens. Default 1024. */
  maxNewTokens?: number;
  /** Stops between two tokens or passes; its reason is thrown. */
  signal?: AbortSignal;
  /** Called while each of the two models is loading. */
  onProgress?: (progress: Progress) => void;
  /** Called after each image with its comparison. */
  onImage?: (report: ImageDiff) => void;
}

const { backend, revision, subfolder, processor, imageSize } = LOAD_OPTIONS;

/** The kinds of the fields of a run. */
export const RUN_SPEC: OptionTable<RunSpec> = {
  backend,
  revision,
  subfolder,
  processor,
  imageSize,
  model: required(text),
  adapter: text,
  adapterRevision: text,
};

/** The kinds of the options of `diffRuns`. */
export const DIFF_OPTIONS: OptionTable<DiffOptions> = {
  ...{ ...TASK_ARGUMENTS, ...DECODE_OPTIONS, task: required(anything), at: anything },
  ...{ tolerance: number, maxNewTokens: count, signal: abortSignal, onProgress: callback, onImage: callback },
};

/** The comparison of one hook point. */
export interface DiffRow {
  /** Name of the hook point. */
  readonly name: string;
  /** Shape of the activation in run A; in run B if only B has the point. */
  readonly shape: number[];
  /** Largest |b − a|; infinite if the activations cannot be compared. */
  readonly maxAbs: number;
  /** ‖b − a‖ / ‖a‖; infinite if the activations cannot be compared. */
  readonly relative: number;
  /** Whether the relative difference exceeds the tolerance. */
  readonly departs: boolean;
  /** Whether this is the first point, in execution order, that departs. */
  readonly firstDeparture: boolean;
  /** Why the activations cannot be compared, or which part of them is. */
  readonly remark?: string;
}

/** A model's own greedy answer. */
export interface RunAnswer {
  /** Token ids after the start token. */
  readonly ids: number[];
  /** The answer as text, without special tokens. */
  readonly text: string;
}

/** An image that `diffRuns` reads when its turn comes, once or more often. */
export interface DiffImage {
  /** For the report and messages. */
  readonly name: string;
  read(): Promise<ImageInput>;
}

/** The kind of the images of `diffRuns`. */
export const DIFF_IMAGE: Kind = {
  expected: 'a path, a URL or { name, read }',
  allows: value => text.allows(value) || (isRecord(value) && text.allows(value.name) && callback.allows(value.read)),
};

/** The comparison of one image. */
export interface ImageDiff {
  /** Path, URL or name of the image. */
  readonly image: string;
  /** One per hook point, from a pass in which both runs receive A's whole answer. */
  readonly rows: DiffRow[];
  /** The two models' own answers. */
  readonly answers: { readonly a: RunAnswer; readonly b: RunAnswer };
  /** Whether the two answers have the same tokens. */
  readonly sameAnswer: boolean;
}

/** The comparison of two runs. */
export interface DiffReport {
  /** Run A, and the backend that it ran on. */
  readonly a: RunSpec & { readonly ranOn: BackendChoice };
  /** Run B, and the backend that it ran on. */
  readonly b: RunSpec & { readonly ranOn: BackendChoice };
  /** The tolerance that was applied. */
  readonly tolerance: number;
  /** One per image, in the order given. */
  readonly images: ImageDiff[];
  /** Whether no point of any image departs. */
  readonly within: boolean;
}

/** Default tolerance: backends differ by less, fine-tuned weights by more. */
export const DIFF_TOLERANCE = 1e-3;
