import * as tf from '@tensorflow/tfjs';
import type { ActivationCache } from './activations/cache.ts';
import { runWithCache } from './activations/run_with_cache.ts';
import { Adapters, type LoadAdapterOptions } from './adapters/adapters.ts';
import type { Lora } from './adapters/lora.ts';
import type { Florence2Parts, LoadOptions } from './checkpoint/load.ts';
import type { GenerationConfig } from './config/generation.ts';
import type { Florence2Config } from './config/model.ts';
import type { PreprocessorConfig } from './config/preprocessor.ts';
import { UsageError } from './errors.ts';
import type { DecodingSession, GeneratedSequence } from './generation/decoding.ts';
import { generateSequences, greedySteps } from './generation/generate.ts';
import { type GenerationOptions, type GenerationSettings, resolveGeneration } from './generation/options.ts';
import { CachedSession, encodePrompts, UncachedSession } from './generation/session.ts';
import { type HookFilter, type HookFn, type HookOptions, HookRegistry, type ScopedHook } from './hooks/hooks.ts';
import { ImageFeatures, promptAbout } from './image/features.ts';
import { preprocess, toTensor } from './image/preprocess.ts';
import type { DecodeOptions, ImageInput, RawImage } from './image/types.ts';
import type { Florence2Model } from './model/florence2_model.ts';
import type { CacheOptions, Request, RunOptions, StreamedToken, TaskOptions } from './requests.ts';
import { applyCalibration, type Calibration } from './results/calibration.ts';
import { parse } from './results/parse/parse.ts';
import { turnResult } from './results/turn.ts';
import type { ResultOf, TaskResult } from './results/types.ts';
import type { BackendChoice } from './runtime/backend.ts';
import { locationTokens } from './text/locations.ts';
import type { TaskArguments } from './text/prompt.ts';
import { findTask, type Task } from './text/tasks.ts';
import type { Tokenizer } from './text/tokenizer.ts';
import { readInTiles } from './tiling/run_tiled.ts';

/** A loaded Florence-2 checkpoint: answers tasks about images. */
export class Florence2 {
  /** Folder of the checkpoint's files. */
  readonly folder: string;
  /** The network: its modules, parameters and forward passes. */
  readonly model: Florence2Model;
  readonly tokenizer: Tokenizer;
  /** The active backend, and why others were not chosen. */
  readonly backend: BackendChoice;
  /** Contents of preprocessor_config.json: image size and normalisation. */
  readonly preprocessor: PreprocessorConfig;
  /** LoRA adapters, which can be loaded, switched, scaled and merged. */
  readonly adapters: Adapters;
  /** Contents of generation_config.json: defaults of generation options. */
  readonly generation: GenerationConfig;
  /** The hooks that all forward passes call, see `addHook`. */
  readonly hooks = new HookRegistry();

  /**
   * Loads a checkpoint from a folder or, by id, from the Hugging Face hub (`microsoft/Florence-2-base`).
   *
   * @throws Florence2Error if the checkpoint is missing, damaged or of another kind, or the backend cannot run
   */
  static async load(dirOrHubId: string, options: LoadOptions = {}): Promise<Florence2> {
    const { loadParts } = await import('./checkpoint/load.ts');
    return new Florence2(await loadParts(dirOrHubId, options));
  }

  constructor(parts: Florence2Parts) {
    this.folder = parts.folder;
    this.model = parts.model;
    this.tokenizer = parts.tokenizer;
    this.backend = parts.backend;
    this.preprocessor = parts.preprocessor;
    this.generation = parts.generation;
    this.adapters = new Adapters(parts.model, parts.calibration);
  }

  get config(): Florence2Config {
    return this.model.config;
  }

  /**
   * The map from raw to calibrated confidences: calibration.json of the checkpoint, or of the active adapter, or the last
   * one of `calibrate`. Null: confidences are raw.
   */
  get calibration(): Calibration | null {
    return this.adapters.calibration;
  }

  set calibration(calibration: Calibration | null) {
    this.adapters.calibration = calibration;
  }

  /** Runs the vision tower on one image. The caller disposes the features. */
  async encodeImage(image: ImageInput, options: DecodeOptions = {}): Promise<ImageFeatures> {
    const [features] = await this.encodeImages([image], options);
    return features;
  }

  /**
   * Encodes several images of any sizes. Hooks receive them as one batch; on wasm as batches of at most 768×768 pixels
   * in all, because its heap is small.
   */
  async encodeImages(images: ImageInput[], options: DecodeOptions = {}): Promise<ImageFeatures[]> {
    const { decodeForModel } = await import('./image/decode.ts');
    const decoded = await Promise.all(images.map(image => decodeForModel(image, options)));
    const raw = decoded.map(({ image }) => image);
    const rows = tf.tidy(() => this.passes(raw).flatMap(images => this.encodePass(images)));
    return rows.map((row, i) => {
      const { image, turned } = decoded[i];
      return new ImageFeatures(row, { width: image.width, height: image.height }, turned);
    });
  }

  /**
   * Answers one task about one image.
   *
   * @param task a task token (`<OD>`) or a custom prompt
   * @throws UsageError if the task does not take these arguments, Florence2Error if the image cannot be read or the
   *   prompt is too long
   */
  run<T extends Task>(image: Request['image'], task: T, options?: TaskOptions): Promise<ResultOf<T>>;
  run(image: Request['image'], task: string, options?: TaskOptions): Promise<TaskResult>;
  async run(image: Request['image'], task: string, options: TaskOptions = {}): Promise<TaskResult> {
    const { text, box, tiles, ...rest } = options;
    if (tiles !== undefined) return readInTiles(this, image, { task, text, box }, tiles, rest);
    const [result] = await this.runBatch([{ image, task, text, box }], rest);
    return result;
  }

  /** Answers several requests as one batch. An image that occurs in several requests is encoded once. */
  async runBatch(requests: Request[], options: RunOptions = {}): Promise<TaskResult[]> {
    const { keepUnicode, keepMalformed } = options;
    return this.withFeatures(requests, options, async features => {
      const prompts = requests.map((request, i) => promptAbout(features[i], request));
      const answers = await this.generate(features, prompts, options);
      return answers.map(([{ truncated, ...tokens }], i) => {
        const { task } = requests[i];
        const answer = { ...tokens, tokenizer: this.tokenizer };
        const how = { keepUnicode, keepMalformed, truncated };
        const { imageSize, orientation } = features[i];
        const result = turnResult(parse(answer, findTask(task)?.task ?? task, imageSize, how), orientation);
        return this.calibration ? applyCalibration(result, this.calibration) : result;
      });
    });
  }

  /**
   * Generates answers to prompts as tokens with scores: `numReturnSequences` for each prompt, best first.
   *
   * @param features one image for each prompt
   * @param prompts prompts without task tokens, see `constructPrompt`
   */
  async generate(
    features: ImageFeatures[],
    prompts: string[],
    options: GenerationOptions & { signal?: AbortSignal } = {},
  ): Promise<GeneratedSequence[][]> {
    if (features.length + prompts.length === 0) return [];
    const { signal, settings, session } = this.startSession(features, prompts, options);
    try {
      return await generateSequences(session, settings, signal);
    } finally {
      session.dispose();
    }
  }

  /**
   * Generates the answer to one task greedily and yields each token as it is generated, except `<s>`, `</s>` and
   * `<pad>`. The texts, joined, are the result's `answer`.
   */
  async *stream(
    image: Request['image'],
    task: string,
    options: RunOptions & TaskArguments = {},
  ): AsyncGenerator<StreamedToken, void> {
    const { text, box, ...rest } = options;
    if ((rest.numBeams ?? 1) !== 1) throw new UsageError('A stream is greedy: numBeams must be 1.');
    const own = image instanceof ImageFeatures ? null : await this.encodeImage(image, rest);
    try {
      const features = own ?? (image as ImageFeatures);
      const prompt = promptAbout(features, { task, text, box });
      const greedy = { ...rest, numBeams: 1, numReturnSequences: 1 };
      const { signal, settings, session } = this.startSession([features], [prompt], greedy);
      try {
        const decoded = this.tokenizer.stream();
        for await (const [{ token, logProb, ended }] of greedySteps(session, settings, signal)) {
          const frame = this.tokenizer.isFrame(token);
          const text = (frame ? '' : decoded.push(token)) + (ended ? decoded.end() : '');
          if (!frame || text !== '') yield { token, logProb, text };
        }
      } finally {
        session.dispose();
      }
    } finally {
      own?.dispose();
    }
  }

  /**
   * Loads a LoRA adapter from a folder in PEFT's format and makes it the active one. `adapters` switches, scales and
   * merges it.
   *
   * @throws Florence2Error if it is damaged, does not fit the model or uses more than LoRA
   */
  loadAdapter(folder: string, options: LoadAdapterOptions = {}): Promise<Lora> {
    return this.adapters.load(folder, options);
  }

  /**
   * Adds a hook: all following forward passes call `fn` with the activation at each hook point that `filter` matches. A
   * tensor that it returns replaces the activation. Returns a function that removes the hook.
   *
   * @param filter a name, a glob (`language_model.decoder.layers.*.hook_resid_post`), a RegExp, a function, or a list
   */
  addHook(filter: HookFilter, fn: HookFn, options?: HookOptions): () => void {
    return this.hooks.add(filter, fn, options);
  }

  /** Adds hooks, runs `body` and removes them, also when it throws. */
  async withHooks<T>(hooks: readonly ScopedHook[], body: () => T | Promise<T>): Promise<T> {
    const remove = this.hooks.addAll(hooks);
    try {
      return await body();
    } finally {
      remove();
    }
  }

  /** Answers one task about one image with hooks that are active only for this run. */
  runWithHooks(
    image: Request['image'],
    task: string,
    hooks: readonly ScopedHook[],
    options: RunOptions & TaskArguments = {},
  ): Promise<TaskResult> {
    return this.withHooks(hooks, () => this.run(image, task, options));
  }

  /**
   * Answers one task about one image and returns the activations of the run too. The caller disposes the cache.
   *
   * @throws UsageError for a name or pattern that matches no hook point of the run
   */
  runWithCache(
    image: Request['image'],
    task: string,
    options: CacheOptions = {},
  ): Promise<{ result: TaskResult; cache: ActivationCache }> {
    const { names, steps, file, ...runOptions } = options;
    return runWithCache(this.hooks, { names, steps, file }, () => this.run(image, task, runOptions));
  }

  /** Removes all hooks. */
  resetHooks(): void {
    this.hooks.clear();
  }

  /** Disposes the weights, including those of adapters. */
  dispose(): void {
    this.adapters.dispose();
    this.model.dispose();
  }

  /** Runs `body` with the features of each request's image. Images encoded here are disposed afterwards. */
  private async withFeatures<T>(
    requests: Request[],
    options: DecodeOptions,
    body: (features: ImageFeatures[]) => Promise<T>,
  ): Promise<T> {
    const images = [...new Set(requests.map(({ image }) => image))].filter(image => !(image instanceof ImageFeatures));
    const encoded = await this.encodeImages(images as ImageInput[], options);
    try {
      const byImage = new Map(images.map((image, i) => [image, encoded[i]]));
      return await body(requests.map(({ image }) => byImage.get(image) ?? (image as ImageFeatures)));
    } finally {
      for (const features of encoded) features.dispose();
    }
  }

  /** Splits images into the batches in which they run through the vision tower. */
  private passes(images: RawImage[]): RawImage[][] {
    const { height, width } = this.preprocessor;
    const count = Math.min(images.length, this.model.executor.imagesPerPass(height, width, this.hooks.root()));
    const starts = Array.from({ length: images.length }, (_, i) => i).filter(i => i % count === 0);
    return starts.map(start => images.slice(start, start + count));
  }

  /** Encodes images in one pass -> B × [1, 1 + N, D] */
  private encodePass(images: RawImage[]): tf.Tensor3D[] {
    return tf.tidy(() => {
      const pixels = toTensor(preprocess(images, this.preprocessor)); // [B, H, W, 3]
      return tf.split(this.model.encodeImage(pixels, this.hooks.root()), images.length) as tf.Tensor3D[];
    });
  }

  private startSession(
    features: ImageFeatures[],
    prompts: string[],
    { signal, ...options }: GenerationOptions & { signal?: AbortSignal },
  ): { session: DecodingSession; settings: GenerationSettings; signal?: AbortSignal } {
    signal?.throwIfAborted();
    const locations = locationTokens(this.tokenizer);
    const settings = { ...resolveGeneration(options, this.generation, this.config.text), locations };
    const memory = encodePrompts(this, features, prompts);
    const Session = settings.useCache ? CachedSession : UncachedSession;
    try {
      return { session: new Session(this.model, memory, settings.numBeams, this.hooks), settings, signal };
    } finally {
      tf.dispose([memory.states, memory.mask ?? []]);
    }
  }
}
