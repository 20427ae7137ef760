import * as tf from '@tensorflow/tfjs';
import type { ActivationCache } from './activations/cache.ts';
import { type CaptureOptions, runWithCache } from './activations/run_with_cache.ts';
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
import { CachedSession, UncachedSession } from './generation/session.ts';
import { type HookFilter, type HookFn, type HookOptions, HookRegistry, type ScopedHook } from './hooks/hooks.ts';
import { ImageFeatures } from './image/features.ts';
import { preprocess, toTensor } from './image/preprocess.ts';
import type { DecodeOptions, ImageInput, RawImage } from './image/types.ts';
import type { Memory } from './language/decoder.ts';
import type { Florence2Model } from './model/florence2_model.ts';
import { parse } from './results/parse/parse.ts';
import type { ResultOf, TaskResult } from './results/types.ts';
import type { BackendChoice } from './runtime/backend.ts';
import { promptOf, type TaskArguments } from './text/prompt.ts';
import { findTask, type Task } from './text/tasks.ts';
import type { Tokenizer } from './text/tokenizer.ts';

/** An image and what to ask about it. */
export interface Request extends TaskArguments {
  image: ImageInput | ImageFeatures;
  /** A task token (`<OD>`), with its text behind it or in `text`; any other text is a prompt of its own. */
  task: string;
}

export interface RunOptions extends GenerationOptions, DecodeOptions {
  /** Stops between two tokens; its reason is thrown. */
  signal?: AbortSignal;
  /** Keep characters outside ASCII in labels, which Florence-2's own processor removes. Default false. */
  keepUnicode?: boolean;
}

/** Options of `runWithCache`: those of a run, and which activations are kept. */
export interface CacheOptions extends RunOptions, TaskArguments, CaptureOptions {}

/** One token of a stream, and the text that it completes (a character may take several tokens). */
export interface StreamedToken {
  token: number;
  text: string;
  logProb: number;
}

/** A Florence-2 checkpoint, ready to answer. */
export class Florence2 {
  /** Of the checkpoint's files. */
  readonly folder: string;
  /** The network itself, for research: its modules, parameters and forward passes. */
  readonly model: Florence2Model;
  readonly tokenizer: Tokenizer;
  readonly backend: BackendChoice;
  readonly preprocessor: PreprocessorConfig;
  /** LoRA adapters: switched, scaled, merged. */
  readonly adapters: Adapters;
  /** generation_config.json */
  readonly generation: GenerationConfig;
  /** Hooks of every forward pass, see `addHook`. */
  readonly hooks = new HookRegistry();

  /**
   * Loads a checkpoint from a folder, or from the Hugging Face hub by its id (`microsoft/Florence-2-base`).
   *
   * @throws Florence2Error when the checkpoint is missing, damaged or of another kind, or the backend cannot run
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
    this.adapters = new Adapters(parts.model);
  }

  get config(): Florence2Config {
    return this.model.config;
  }

  /** Runs the vision tower on one image. The caller disposes the features. */
  async encodeImage(image: ImageInput, options: DecodeOptions = {}): Promise<ImageFeatures> {
    const [features] = await this.encodeImages([image], options);
    return features;
  }

  /** The same for several images, of any and different sizes. Hooks see them in one pass, on wasm one by one. */
  async encodeImages(images: ImageInput[], options: DecodeOptions = {}): Promise<ImageFeatures[]> {
    const { decodeImage } = await import('./image/decode.ts');
    const raw: RawImage[] = await Promise.all(images.map(image => decodeImage(image, options)));
    const rows = tf.tidy(() => this.passes(raw).flatMap(images => this.encodePass(images)));
    return rows.map((row, i) => new ImageFeatures(row, { width: raw[i].width, height: raw[i].height }));
  }

  /**
   * Answers one task about one image.
   *
   * @param task a task token (`<OD>`), or a prompt of your own
   * @throws UsageError when the task is not given what it needs, Florence2Error when the image cannot be read or the
   *   prompt is too long
   */
  run<T extends Task>(image: Request['image'], task: T, options?: RunOptions & TaskArguments): Promise<ResultOf<T>>;
  run(image: Request['image'], task: string, options?: RunOptions & TaskArguments): Promise<TaskResult>;
  async run(image: Request['image'], task: string, options: RunOptions & TaskArguments = {}): Promise<TaskResult> {
    const { text, box, ...rest } = options;
    const [result] = await this.runBatch([{ image, task, text, box }], rest);
    return result;
  }

  /** Answers several requests together; an image that stands in several of them is encoded once. */
  async runBatch(requests: Request[], options: RunOptions = {}): Promise<TaskResult[]> {
    const { keepUnicode } = options;
    return this.withFeatures(requests, options, async features => {
      const prompts = requests.map((request, i) => promptOf(request.task, request, features[i].imageSize));
      const answers = await this.generate(features, prompts, options);
      return answers.map(([{ ids, logProbs, truncated }], i) => {
        const { task } = requests[i];
        const answer = { ids, logProbs, tokenizer: this.tokenizer };
        return parse(answer, findTask(task)?.task ?? task, features[i].imageSize, { keepUnicode, truncated });
      });
    });
  }

  /**
   * The model's answers to plain prompts as tokens: for each prompt `numReturnSequences` of them, best first, with
   * their scores.
   *
   * @param features one for each prompt
   * @param prompts questions as the model was trained on them (see `constructPrompt`)
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

  /** The answer to one request token by token, greedily, as it is generated. */
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
      const prompt = promptOf(task, { text, box }, features.imageSize);
      const greedy = { ...rest, numBeams: 1, numReturnSequences: 1 };
      const { signal, settings, session } = this.startSession([features], [prompt], greedy);
      try {
        const decoded = this.tokenizer.stream();
        for await (const [{ token, logProb, ended }] of greedySteps(session, settings, signal)) {
          yield { token, logProb, text: decoded.push(token) + (ended ? decoded.end() : '') };
        }
      } finally {
        session.dispose();
      }
    } finally {
      own?.dispose();
    }
  }

  /**
   * Loads a LoRA adapter from a folder as PEFT saves it, and makes it the active one. See `adapters` for what can be
   * done with it.
   *
   * @throws Florence2Error when it is damaged, does not fit the model or is more than LoRA
   */
  loadAdapter(folder: string, options: LoadAdapterOptions = {}): Promise<Lora> {
    return this.adapters.load(folder, options);
  }

  /**
   * Calls `fn` with the activation at every hook point that `filter` names, in each forward pass from now on; what it
   * returns replaces the activation. Returns the function that removes the hook.
   *
   * @param filter a name, a glob (`language_model.decoder.layers.*.hook_resid_post`), a RegExp, a function, or a list
   */
  addHook(filter: HookFilter, fn: HookFn, options?: HookOptions): () => void {
    return this.hooks.add(filter, fn, options);
  }

  /** Adds hooks for the time of `body`; they are gone when it has ended, also when it throws. */
  async withHooks<T>(hooks: readonly ScopedHook[], body: () => T | Promise<T>): Promise<T> {
    const remove = this.hooks.addAll(hooks);
    try {
      return await body();
    } finally {
      remove();
    }
  }

  /** Answers one task about one image with hooks that are there for this run. */
  runWithHooks(
    image: Request['image'],
    task: string,
    hooks: readonly ScopedHook[],
    options: RunOptions & TaskArguments = {},
  ): Promise<TaskResult> {
    return this.withHooks(hooks, () => this.run(image, task, options));
  }

  /**
   * Answers one task about one image, and keeps the activations of this run. The caller disposes the cache.
   *
   * @throws UsageError for a name or pattern that no point of the run has
   */
  runWithCache(
    image: Request['image'],
    task: string,
    { names, steps, file, ...options }: CacheOptions = {},
  ): Promise<{ result: TaskResult; cache: ActivationCache }> {
    return runWithCache(this.hooks, { names, steps, file }, () => this.run(image, task, options));
  }

  /** Removes every hook. */
  resetHooks(): void {
    this.hooks.clear();
  }

  /** Frees the weights, those of adapters too. */
  dispose(): void {
    this.adapters.dispose();
    this.model.dispose();
  }

  /** The features of every request's image; those made here are freed after `body`. */
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

  /** B × [1, 1 + N, D] */
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
    const settings = resolveGeneration(options, this.generation, this.config.text);
    const memory = this.encodePrompts(features, prompts);
    const Session = settings.useCache ? CachedSession : UncachedSession;
    try {
      return { session: new Session(this.model, memory, settings.numBeams, this.hooks), settings, signal };
    } finally {
      tf.dispose([memory.states, memory.mask ?? []]);
    }
  }

  private encodePrompts(features: ImageFeatures[], prompts: string[]): Memory {
    if (features.length !== prompts.length) {
      throw new UsageError(`There are ${features.length} images for ${prompts.length} prompts: give one for each.`);
    }
    const { inputIds, attentionMask, lengths } = this.tokenizer.encodeBatch(prompts);
    const padded = lengths.some(length => length !== lengths[0]);
    const ids = tf.tensor2d(inputIds, undefined, 'int32');
    const mask = padded ? tf.tensor2d(attentionMask, undefined, 'int32') : null;
    const rows = tf.concat(features.map(({ tensor }) => tensor)) as tf.Tensor3D; // [B, 1 + N, D]
    try {
      return this.model.encodePrompt(rows, ids, mask, this.hooks.root());
    } finally {
      tf.dispose([ids, mask ?? [], rows]);
    }
  }
}
