import * as tf from '@tensorflow/tfjs';
import type { ActivationCache } from './activations/cache.ts';
import { runWithCache } from './activations/run_with_cache.ts';
import { type AdapterChoice, Adapters, type LoadAdapterOptions } from './adapters/adapters.ts';
import type { Lora } from './adapters/lora.ts';
import { findAdapter } from './checkpoint/find.ts';
import type { Florence2Parts, LoadOptions } from './checkpoint/load.ts';
import type { SaveOptions } from './checkpoint/write.ts';
import type { GenerationConfig } from './config/generation.ts';
import type { Florence2Config } from './config/model.ts';
import type { PreprocessorConfig } from './config/preprocessor.ts';
import type { Florence2Error } from './errors.ts';
import type { GeneratedSequence } from './generation/decoding.ts';
import { generateAnswers } from './generation/generate.ts';
import type { GenerationOptions } from './generation/options.ts';
import type { StreamedToken } from './generation/stream.ts';
import {
  checkHook,
  checkHooks,
  type HookFilter,
  type HookFn,
  type HookOptions,
  HookRegistry,
  type ScopedHook,
} from './hooks/hooks.ts';
import type { ImageFeatures } from './image/features.ts';
import type { ImageInput } from './image/types.ts';
import type { Florence2Model } from './model/florence2_model.ts';
import type { Adaptation } from './nn/params.ts';
import { checkKind, checkOptions } from './options.ts';
import {
  answerBatch,
  answerRecorded,
  type BatchOptions,
  CALLS,
  type CacheOptions,
  type CallOptions,
  type EncodeOptions,
  encodeInputs,
  type Request,
  type ResultsOf,
  type RunOptions,
  streamAnswer,
  type TaskOptions,
  type TaskText,
} from './requests.ts';
import type { Calibration } from './results/calibration.ts';
import type { ResultOf, TaskResult } from './results/types.ts';
import type { BackendChoice } from './runtime/backend.ts';
import { skipErrors } from './skip_errors.ts';
import type { TaskArguments } from './text/prompt.ts';
import { answeredTask } from './text/tasks.ts';
import type { Tokenizer } from './text/tokenizer.ts';
import { readInTiles } from './tiling/run_tiled.ts';

/**
 * A loaded Florence-2 checkpoint: answers tasks about images.
 *
 * Calls may run at the same time. Each computes as if it ran alone: the hooks, captures and adapters of one do not
 * affect another. A call uses the adapters that are active when it starts, and always the backend that the model was
 * loaded on, whichever is active in tfjs.
 */
export class Florence2 {
  /** Folder of the checkpoint's files. */
  readonly folder: string;
  /** The network: its modules, parameters and forward passes. */
  readonly model: Florence2Model;
  readonly tokenizer: Tokenizer;
  /** The backend that the model runs on, and why others were not chosen. */
  readonly backend: BackendChoice;
  /** Contents of preprocessor_config.json: image size and normalisation. */
  readonly preprocessor: PreprocessorConfig;
  /** LoRA adapters, which can be loaded, switched, scaled and merged. */
  readonly adapters: Adapters;
  /** Contents of generation_config.json: defaults of generation options. */
  readonly generation: GenerationConfig;
  /** The hooks that all forward passes call, see `addHook` and `withHooks`. */
  readonly hooks: HookRegistry;
  /** What adapters add to the network, see `withAdapter`. Undefined: those that are active when a call starts. */
  readonly adaptation?: Adaptation;
  private ownCalibration?: Calibration | null;

  /**
   * Loads a checkpoint from a folder or, by id, from the Hugging Face hub (`microsoft/Florence-2-base`).
   *
   * @throws Florence2Error if the checkpoint is missing, damaged or of another kind, or the backend cannot run
   */
  static async load(dirOrHubId: string, options: LoadOptions = {}): Promise<Florence2> {
    const { loadParts } = await import('./checkpoint/load.ts');
    return new Florence2(await loadParts(dirOrHubId, options));
  }

  /** @param own what it does not share with another model of the same parts */
  constructor(
    private readonly parts: Florence2Parts,
    own: Partial<Pick<Florence2, 'adapters' | 'hooks' | 'adaptation' | 'calibration'>> = {},
  ) {
    this.folder = parts.folder;
    this.model = parts.model;
    this.tokenizer = parts.tokenizer;
    this.backend = parts.backend;
    this.preprocessor = parts.preprocessor;
    this.generation = parts.generation;
    this.adapters = own.adapters ?? new Adapters(parts.model, parts.calibration, findAdapter);
    this.hooks = own.hooks ?? new HookRegistry();
    this.adaptation = own.adaptation;
    this.ownCalibration = own.calibration;
  }

  get config(): Florence2Config {
    return this.model.config;
  }

  /**
   * The map from raw to calibrated confidences: calibration.json of the checkpoint, or of the active adapter, or the last
   * one of `calibrate`. Null: confidences are raw.
   */
  get calibration(): Calibration | null {
    return this.ownCalibration === undefined ? this.adapters.calibration : this.ownCalibration;
  }

  set calibration(calibration: Calibration | null) {
    if (this.adaptation) this.ownCalibration = calibration;
    else this.adapters.calibration = calibration;
  }

  /** Runs the vision tower on one image. The caller disposes the features. */
  async encodeImage(image: ImageInput, options: EncodeOptions = {}): Promise<ImageFeatures> {
    return (await this.encodeImages([image], options))[0];
  }

  /**
   * Encodes several images of any sizes. Hooks receive them as one batch; on wasm as batches of at most 768×768 pixels
   * in all, because its heap is small.
   */
  async encodeImages(images: ImageInput[], options: EncodeOptions = {}): Promise<ImageFeatures[]> {
    return encodeInputs(this.withAdapter(options?.adapter), images, options);
  }

  /**
   * Answers one task about one image.
   * @param task a task token (`<OD>`) or a custom prompt
   * @throws UsageError if the task does not take these arguments, Florence2Error if the image cannot be read or the
   *   prompt is too long
   */
  run<T extends TaskText>(
    image: Request['image'],
    task: T,
    ...options: CallOptions<T, Omit<TaskOptions, keyof TaskArguments>>
  ): Promise<ResultOf<T>>;
  async run(image: Request['image'], task: string, options: TaskOptions = {}): Promise<TaskResult> {
    checkOptions('run', options, CALLS.run);
    const { text, box, tiles, adapter, ...rest } = options;
    const call = this.withAdapter(adapter);
    if (tiles !== undefined) return readInTiles(call, image, { task: answeredTask(task), text, box }, tiles, rest);
    const [result] = await call.runBatch([{ image, task, text, box }], rest);
    return result;
  }

  /** Answers several requests as one batch. An image that occurs in several requests is encoded once. */
  runBatch<const T extends readonly TaskText[]>(
    requests: { readonly [K in keyof T]: Request<T[K]> },
    options?: BatchOptions & { onError?: 'throw' },
  ): Promise<ResultsOf<T>>;
  runBatch<const T extends readonly TaskText[]>(
    requests: { readonly [K in keyof T]: Request<T[K]> },
    options: BatchOptions,
  ): Promise<ResultsOf<T, Florence2Error>>;
  async runBatch(requests: readonly Request[], options: BatchOptions = {}): Promise<(TaskResult | Florence2Error)[]> {
    checkOptions('runBatch', options, CALLS.runBatch);
    checkKind('requests', requests, CALLS.requests);
    const call = this.withAdapter(options.adapter);
    if (options.onError === 'skip')
      return skipErrors(requests, some => call.runBatch(some, { ...options, adapter: undefined, onError: 'throw' }));
    return answerBatch(call, requests, options);
  }

  /**
   * Generates answers to prompts as tokens with scores: `numReturnSequences` for each prompt, best first.
   * @param features one image for each prompt
   * @param prompts prompts without task tokens, see `constructPrompt`
   */
  async generate(
    features: ImageFeatures[],
    prompts: string[],
    options: GenerationOptions & { signal?: AbortSignal; adapter?: AdapterChoice } = {},
  ): Promise<GeneratedSequence[][]> {
    checkOptions('generate', options, CALLS.generate);
    return generateAnswers(this.withAdapter(options.adapter), features, prompts, options);
  }

  /**
   * Generates the answer to one task without beams and yields each token as it is generated, except `<s>`, `<pad>` and
   * the end token. The texts, joined, are the result's `answer`.
   */
  stream<T extends TaskText>(
    image: Request['image'],
    task: T,
    ...options: CallOptions<T, RunOptions>
  ): AsyncGenerator<StreamedToken, void>;
  stream(
    image: Request['image'],
    task: string,
    options: RunOptions & TaskArguments = {},
  ): AsyncGenerator<StreamedToken, void> {
    return streamAnswer(this.withAdapter(options?.adapter), image, task, options);
  }

  /**
   * Loads a LoRA adapter in PEFT's format, from a folder or by hub id, and activates it. `adapters` switches and merges it.
   * @throws Florence2Error if it is missing or damaged, does not fit the model or uses more than LoRA
   */
  loadAdapter(folder: string, options: LoadAdapterOptions = {}): Promise<Lora> {
    return this.adapters.load(folder, options);
  }

  /**
   * Adds a hook: all following forward passes call `fn` with the activation at each hook point that `filter` matches. A
   * tensor that it returns replaces the activation. Returns a function that removes the hook.
   * @param filter a name, a glob (`language_model.decoder.layers.*.hook_resid_post`), a RegExp, a function, or a list
   */
  addHook(filter: HookFilter, fn: HookFn, options?: HookOptions): () => void {
    checkHook(this.model.hookNames, filter, fn, options);
    return this.hooks.add(filter, fn, options);
  }

  /**
   * Returns the model with more hooks, for some calls: `model.withHooks(hooks).run(…)`, or any function that takes a
   * model. Calls of this model do not run them. Both share everything else, the weights included.
   * @param hooks they run after the hooks of this model
   */
  withHooks(hooks: readonly ScopedHook[]): Florence2 {
    checkHooks(this.model.hookNames, hooks);
    return this.derive({ hooks: this.hooks.with(hooks) });
  }

  /**
   * Returns the model with a choice of adapters, for some calls. Both share everything else, the weights included.
   * @param adapter a name, several, or null for none. Default: those active now, also after others are activated
   * @throws UsageError for an unknown name, if two of them replace the same parameter, or while others are merged
   */
  withAdapter(adapter?: AdapterChoice): Florence2 {
    if (adapter === undefined && this.adaptation) return this;
    const { adapters } = this;
    const chosen = adapter === undefined ? adapters.active : adapter;
    return this.derive({ adaptation: adapters.choose(chosen), calibration: adapters.calibrationOf(chosen) });
  }

  /**
   * Runs a function in `tf.tidy` on the model's backend and with its adapters: for your own computations with its
   * network or its tensors, also while another backend is active.
   */
  tidy<T>(body: () => T): T {
    return this.model.compute(() => tf.tidy(body as () => tf.TensorContainer) as T, this.adaptation);
  }

  /** Answers one task about one image with more hooks. */
  runWithHooks<T extends TaskText>(
    image: Request['image'],
    task: T,
    hooks: readonly ScopedHook[],
    ...options: CallOptions<T, RunOptions>
  ): Promise<ResultOf<T>>;
  runWithHooks(
    image: Request['image'],
    task: string,
    hooks: readonly ScopedHook[],
    options: RunOptions & TaskArguments = {},
  ): Promise<TaskResult> {
    return this.withHooks(hooks).run(image, task, options);
  }

  /**
   * Answers one task about one image and returns the activations of the run too. The caller disposes the cache.
   * @throws UsageError for a name or pattern that matches no hook point of the run
   */
  runWithCache<T extends TaskText>(
    image: Request['image'],
    task: T,
    ...options: CallOptions<T, CacheOptions>
  ): Promise<{ result: ResultOf<T>; cache: ActivationCache }>;
  async runWithCache(
    image: Request['image'],
    task: string,
    options: CacheOptions & TaskArguments = {},
  ): Promise<{ result: TaskResult; cache: ActivationCache }> {
    checkOptions('runWithCache', options, CALLS.runWithCache);
    const { names, steps, file, adapter, ...runOptions } = options;
    const call = this.withAdapter(adapter);
    const answer = (hook: ScopedHook) => answerRecorded(call.withHooks([hook]), image, task, runOptions);
    return runWithCache({ names, steps, file }, answer);
  }

  /**
   * Writes the model as a checkpoint to a new folder, with the active adapters merged into the weights. `load` reads it,
   * and so does transformers. Node only.
   * @throws UsageError if the folder contains files, Florence2Error if it cannot be written
   */
  async save(folder: string, options: SaveOptions = {}): Promise<void> {
    const { saveCheckpoint } = await import('./checkpoint/write.ts');
    const { calibration, adaptation = this.model.adaptation } = this;
    await saveCheckpoint({ ...this.parts, calibration, adaptation }, folder, options);
  }

  /** Removes all hooks. */
  resetHooks(): void {
    this.hooks.clear();
  }

  /** Disposes the weights, also those of adapters. Calls that are running end with an error of code `DISPOSED`. */
  dispose(): void {
    this.adapters.dispose();
    this.model.dispose();
  }

  private derive(own: Partial<Pick<Florence2, 'hooks' | 'adaptation' | 'calibration'>>): Florence2 {
    const { adapters, hooks, adaptation, ownCalibration: calibration } = this;
    return new Florence2(this.parts, { adapters, hooks, adaptation, calibration, ...own });
  }
}
