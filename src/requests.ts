import { metadataOf } from './activations/activation.ts';
import type { CaptureOptions } from './activations/run_with_cache.ts';
import type { AdapterChoice } from './adapters/adapters.ts';
import { answerTokens, type Call, encodeImages, type SessionOptions, settingsOf } from './generation/call.ts';
import { CONSTRAIN, type Constrain, Constraint } from './generation/constraint.ts';
import { generateAnswers } from './generation/generate.ts';
import { GENERATION_OPTIONS, type GenerationOptions, type GenerationSettings } from './generation/options.ts';
import { type StreamedToken, streamTokens } from './generation/stream.ts';
import { STEP_FILTER } from './hooks/filter.ts';
import { ImageFeatures, imageHash, promptAbout } from './image/features.ts';
import { DECODE_OPTIONS, type DecodeOptions, type ImageInput } from './image/types.ts';
import {
  abortSignal,
  anything,
  checkKind,
  checkOptions,
  type Kind,
  listOf,
  type OptionTable,
  oneOf,
  onOff,
  pickOptions,
  text,
} from './options.ts';
import { applyCalibration, type Calibration } from './results/calibration.ts';
import { type ParseOptions, parse } from './results/parse/parse.ts';
import { turnResult } from './results/turn.ts';
import type { ResultOf, TaskResult } from './results/types.ts';
import type { ErrorMode } from './skip_errors.ts';
import { type ArgumentsOf, TASK_ARGUMENTS, type TaskArguments } from './text/prompt.ts';
import { answeredTask, type Task, type TaskName } from './text/tasks.ts';
import type { TileOptions } from './tiling/tiles.ts';

/** A task by its name (`od`) or token (`<OD>`), or a custom prompt. The names are listed for editors. */
export type TaskText = Task | TaskName | (string & {});

/** A task about an image, with the text or the box that the task needs. */
export type Request<T extends string = string> = {
  /** The image, or its features from `encodeImage`. */
  image: ImageInput | ImageFeatures;
  /**
   * The name of a task (`od`) or its token (`<OD>`), which may be followed by its text; any other text is a custom
   * prompt.
   */
  task: T;
} & ArgumentsOf<T>;

/** The last arguments of a call about a task: its options, which a task with a text or a box requires. */
export type CallOptions<T extends string, Options> =
  object extends ArgumentsOf<T> ? [options?: Options & ArgumentsOf<T>] : [options: Options & ArgumentsOf<T>];

/** The results of several requests, by their tasks. `Failure` is in the place of requests that failed. */
export type ResultsOf<T extends readonly string[], Failure = never> = {
  -readonly [K in keyof T]: ResultOf<T[K]> | Failure;
};

/** Options of `encodeImage`. */
export interface EncodeOptions extends DecodeOptions {
  /** The adapter of this call, several, or null for none. Default: those that are active when the call starts. */
  adapter?: AdapterChoice;
}

/** Options of `run`: how the image is encoded and the answer generated and parsed. */
export interface RunOptions
  extends GenerationOptions,
    EncodeOptions,
    Pick<ParseOptions, 'keepUnicode' | 'keepMalformed'> {
  /** Stops the generation between two tokens; its reason is thrown. */
  signal?: AbortSignal;
  /**
   * Allows only tokens with which the answer has the form of its task: places of four or eight coordinates with an area,
   * outlines of pairs of coordinates, a label before each place that needs one. With `{ classes }` labels are only these.
   * Answers in words and to prompts are not constrained. Default false.
   */
  constrain?: Constrain;
}

/** Options of `runBatch`. */
export interface BatchOptions extends RunOptions {
  /**
   * What a request that fails does: `throw` ends the call with its error, `skip` returns the error in the place of its
   * result. Default `throw`.
   */
  onError?: ErrorMode;
}

/** Options of `run` with one task: how it is answered, its arguments, and tiles. */
export interface TaskOptions extends RunOptions, TaskArguments {
  /**
   * Reads a large image in overlapping tiles of this side in pixels, and as a whole, and merges the boxes, outlines or
   * lines. For tasks with places but without a region.
   */
  tiles?: number | TileOptions;
}

/** Options of `runWithCache`: those of `run`, and which activations are kept. */
export interface CacheOptions extends RunOptions, CaptureOptions {}

const one = (why: string): Kind => ({ expected: `1 (${why})`, allows: value => value === 1 });

const GENERATE: OptionTable<GenerationOptions & { signal?: AbortSignal; adapter?: AdapterChoice }> = {
  ...GENERATION_OPTIONS,
  signal: abortSignal,
  adapter: anything,
};

const OF_TASK: OptionTable<RunOptions & TaskArguments> = {
  ...GENERATE,
  numReturnSequences: one('this call returns one answer, `generate` returns several'),
  ...DECODE_OPTIONS,
  ...{ keepUnicode: onOff, keepMalformed: onOff, constrain: CONSTRAIN },
  ...TASK_ARGUMENTS,
};

const { text: _text, box: _box, ...OF_ALL } = OF_TASK;

const RUN: OptionTable<TaskOptions> = { ...OF_TASK, tiles: anything };

const RUN_BATCH: OptionTable<BatchOptions> = { ...OF_ALL, onError: oneOf('throw', 'skip') };

const CACHE: OptionTable<CacheOptions & TaskArguments> = {
  ...OF_TASK,
  names: anything,
  steps: STEP_FILTER,
  file: text,
};

const REQUEST: OptionTable<Request> = { ...TASK_ARGUMENTS, image: anything, task: anything };

/** The kinds of the options of the model's calls, and of the fields of a request. */
export const CALLS = {
  encodeImages: { ...DECODE_OPTIONS, adapter: anything },
  generate: GENERATE,
  runBatch: RUN_BATCH,
  run: RUN,
  stream: { ...OF_TASK, numBeams: one('a stream has no beams') },
  runWithCache: CACHE,
  request: REQUEST,
  requests: listOf(anything, 'requests'),
};

/** A model as these calls use it: `Florence2`. */
interface Answering extends Call {
  readonly folder: string;
  readonly calibration: Calibration | null;
  encodeImages(images: ImageInput[], options?: DecodeOptions): Promise<ImageFeatures[]>;
}

/** Returns the options of the generation of answers to tasks. */
export function generationOf(
  call: Call,
  tasks: readonly string[],
  options: RunOptions,
): { settings: GenerationSettings; options: SessionOptions } {
  const { constrain, signal } = options;
  const generation = pickOptions(options, GENERATION_OPTIONS);
  const settings = settingsOf(call, generation);
  const { eosTokenIds } = settings;
  const constraints = Constraint.forTasks(call.tokenizer, eosTokenIds, tasks.map(answeredTask), constrain);
  return { settings, options: { ...generation, signal, constraints } };
}

/**
 * Decodes images and encodes them.
 *
 * @param hashed whether the features have the hashes of the images
 */
export async function encodeInputs(
  call: Call,
  images: ImageInput[],
  options: EncodeOptions,
  hashed = false,
): Promise<ImageFeatures[]> {
  checkOptions('encodeImages', options, CALLS.encodeImages);
  checkKind('images', images, listOf(anything, 'images'));
  const decoding = pickOptions(options, DECODE_OPTIONS);
  const { decodeForModel } = await import('./image/decode.ts');
  const decoded = await Promise.all(images.map(image => decodeForModel(image, decoding)));
  const hashes = await Promise.all(decoded.map(({ image }) => (hashed ? imageHash(image) : undefined)));
  const rows = encodeImages(
    call,
    decoded.map(({ image }) => image),
  );
  return rows.map((row, i) => {
    const { image, turned } = decoded[i];
    return new ImageFeatures(row, { width: image.width, height: image.height }, turned, hashes[i]);
  });
}

/**
 * Answers several requests as one batch.
 *
 * @param onAnswers receives the answer of each request as token ids
 */
export async function answerBatch(
  call: Answering,
  requests: readonly Request[],
  options: BatchOptions,
  onAnswers?: (ids: readonly (readonly number[])[]) => void,
): Promise<TaskResult[]> {
  for (const [i, request] of requests.entries()) checkOptions(`requests[${i}]`, request, CALLS.request);
  const { keepUnicode, keepMalformed } = options;
  const encode = (images: ImageInput[]) => call.encodeImages(images, pickOptions(options, DECODE_OPTIONS));
  return withFeatures(requests, encode, async features => {
    const prompts = requests.map((request, i) => promptAbout(features[i], request));
    const generation = generationOf(
      call,
      requests.map(({ task }) => task),
      options,
    );
    const answers = await generateAnswers(call, features, prompts, generation.options);
    onAnswers?.(answers.map(([{ ids }]) => ids));
    return answers.map(([sequence], i) => {
      const answer = answerTokens(call, generation.settings, sequence);
      const how = { keepUnicode, keepMalformed, truncated: sequence.truncated };
      const { imageSize, orientation } = features[i];
      const result = turnResult(parse(answer, answeredTask(requests[i].task), imageSize, how), orientation);
      return call.calibration ? applyCalibration(result, call.calibration) : result;
    });
  });
}

/** Answers one request, and returns what its activations belong to, as metadata for their file. */
export async function answerRecorded(
  call: Answering,
  image: Request['image'],
  task: string,
  { text, box, ...options }: RunOptions & TaskArguments,
): Promise<{ result: TaskResult; metadata: Record<string, string> }> {
  const isEncoded = image instanceof ImageFeatures;
  const [encoded] = isEncoded ? [] : await encodeInputs(call, [image], pickOptions(options, DECODE_OPTIONS), true);
  const features = encoded ?? (image as ImageFeatures);
  try {
    let tokens: readonly number[] = [];
    const request = { image: features, task, text, box };
    const [result] = await answerBatch(call, [request], options, ([ids]) => {
      tokens = ids;
    });
    const prompt = promptAbout(features, request);
    return { result, metadata: metadataOf(call.folder, task, prompt, tokens, features.imageHash) };
  } finally {
    encoded?.dispose();
  }
}

/** Generates the answer to one task without beams and yields each token as it is generated. */
export async function* streamAnswer(
  call: Answering,
  image: Request['image'],
  task: string,
  options: RunOptions & TaskArguments,
): AsyncGenerator<StreamedToken, void> {
  checkOptions('stream', options, CALLS.stream);
  const { text, box } = options;
  const encode = (images: ImageInput[]) => call.encodeImages(images, pickOptions(options, DECODE_OPTIONS));
  const [encoded] = image instanceof ImageFeatures ? [] : await encode([image]);
  try {
    const features = encoded ?? (image as ImageFeatures);
    const prompt = promptAbout(features, { task, text, box });
    yield* streamTokens(call, features, prompt, generationOf(call, [task], options).options);
  } finally {
    encoded?.dispose();
  }
}

/** Runs `body` with the features of each request's image. Images encoded here are disposed afterwards. */
async function withFeatures<T>(
  requests: readonly Request[],
  encode: (images: ImageInput[]) => Promise<ImageFeatures[]>,
  body: (features: ImageFeatures[]) => Promise<T>,
): Promise<T> {
  const images = [...new Set(requests.map(({ image }) => image))].filter(image => !(image instanceof ImageFeatures));
  const encoded = await encode(images as ImageInput[]);
  try {
    const byImage = new Map(images.map((image, i) => [image, encoded[i]]));
    return await body(requests.map(({ image }) => byImage.get(image) ?? (image as ImageFeatures)));
  } finally {
    for (const features of encoded) features.dispose();
  }
}
