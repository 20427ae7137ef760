import * as tf from '@tensorflow/tfjs';
import type { Florence2Config } from '../config/model.ts';
import { Florence2Error } from '../errors.ts';
import type { Hooks } from '../hooks/hooks.ts';
import { paddingMask } from '../language/attention.ts';
import type { LayerCache } from '../language/cache.ts';
import type { Memory } from '../language/decoder.ts';
import { LmHead } from '../language/head.ts';
import { LanguageModel } from '../language/language_model.ts';
import { onBackend } from '../nn/on_backend.ts';
import { type Adaptable, type Adaptation, type Parameter, Params, unadapted } from '../nn/params.ts';
import { promptProblem } from '../text/prompt.ts';
import { DaViT } from '../vision/davit.ts';
import { Projector } from '../vision/projector.ts';
import { type Executor, imagesOf } from './executor.ts';
import { hookNames } from './hook_names.ts';

/**
 * The network of Florence-2: pixels and token ids in, logits out. Xiao et al. 2023, https://arxiv.org/abs/2311.06242.
 * Members and parameters are named as in transformers' `Florence2ForConditionalGeneration`, without `model.`.
 */
export class Florence2Model implements Executor {
  readonly visionTower: DaViT;
  readonly multiModalProjector: Projector;
  readonly languageModel: LanguageModel;
  readonly lmHead: LmHead;
  /** Every parameter by canonical name, in the model's order. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** Every layer that adapters can be added to, by canonical name. */
  readonly adaptable: ReadonlyMap<string, Adaptable>;
  /** Runs inference: this model itself, operation by operation, or TensorFlow graphs. */
  executor: Executor = this;
  /** The tfjs backend that it runs on. Default: the active one. */
  backend?: string;
  /** The adapters of passes that are given none. */
  private common = unadapted;
  /** The adapters that the layers contain now. */
  private applied = unadapted;
  private computing = 0;
  private currentConfig: Florence2Config;
  private names?: readonly string[];

  constructor(config: Florence2Config) {
    this.currentConfig = config;
    const p = Params.root();
    this.visionTower = new DaViT(p.at('vision_tower'), config.vision);
    this.multiModalProjector = new Projector(p.at('multi_modal_projector'), config);
    this.languageModel = new LanguageModel(p.at('language_model'), config.text);
    this.lmHead = new LmHead(p, this.languageModel.shared, config.text.vocabSize, config.text.dModel);
    this.parameters = p.all;
    this.adaptable = p.adaptables;
  }

  /** The checkpoint's config. Its vocabulary grows with `addTokenRows`. */
  get config(): Florence2Config {
    return this.currentConfig;
  }

  /** The names of all hook points. */
  get hookNames(): readonly string[] {
    this.names ??= hookNames(this.config);
    return this.names;
  }

  /** The adapters of passes that are given none. */
  get adaptation(): Adaptation {
    return this.common;
  }

  /** Sets the adapters of passes that are given none. A pass that is running keeps its own. */
  adapt(adaptation: Adaptation): void {
    this.common = adaptation;
    if (this.computing === 0) this.apply(adaptation);
  }

  /**
   * Runs a synchronous computation on the model's backend, with these adapters in its layers. Backend and layers are as
   * before afterwards. Calls that run at the same time alternate between such computations, so none sees what another
   * has set.
   *
   * @param adaptation default: that of the surrounding `compute`, else that of `adapt`
   */
  compute<T>(body: () => T, adaptation = this.applied): T {
    const before = this.applied;
    this.computing++;
    try {
      this.apply(adaptation);
      return this.backend === undefined ? body() : onBackend(this.backend, body);
    } finally {
      this.computing--;
      this.apply(this.computing > 0 ? before : this.common);
    }
  }

  private apply(adaptation: Adaptation): void {
    if (adaptation === this.applied) return;
    this.applied = adaptation;
    const { layers, parameters } = adaptation;
    for (const [module, layer] of this.adaptable) layer.adapters = layers.get(module) ?? null;
    for (const [name, parameter] of this.parameters) parameter.override = parameters.get(name) ?? null;
  }

  /** Normalised pixels [B, H, W, 3] -> image features [B, 1 + N, D], N = H/32 · W/32 */
  encodeImage(pixels: tf.Tensor4D, h: Hooks): tf.Tensor3D {
    return this.compute(() => tf.tidy(() => this.projectMap(this.executor.visionMap(pixels, h), h)));
  }

  /** The second half of `encodeImage`: DaViT's last map [B, H/32, W/32, C] -> image features [B, 1 + N, D] */
  projectMap(map: tf.Tensor4D, h: Hooks): tf.Tensor3D {
    return this.compute(() =>
      h.block('multi_modal_projector', (h, map) => this.multiModalProjector.forward(map, h), map),
    );
  }

  /**
   * Runs the encoder over image and prompt, S = 1 + N + T positions. The caller disposes the result.
   *
   * @param imageFeatures [B, 1 + N, D]
   * @param promptIds [B, T], padded on the right
   * @param promptMask [B, T], 1 = token, 0 = padding; null without padding
   * @throws Florence2Error if S exceeds the position table
   */
  encodePrompt(imageFeatures: tf.Tensor3D, promptIds: tf.Tensor2D, promptMask: tf.Tensor2D | null, h: Hooks): Memory {
    const [B, imageTokens] = imageFeatures.shape;
    const T = promptIds.shape[1];
    const { maxPositionEmbeddings } = this.config.text;
    const problem = promptProblem(T, imageTokens, maxPositionEmbeddings);
    if (problem) throw new Florence2Error(problem, { code: 'INVALID_ARGUMENT' });
    return this.compute(() => {
      const mask =
        promptMask && tf.tidy(() => paddingMask(tf.concat([tf.ones([B, imageTokens], 'int32'), promptMask], 1)));
      try {
        const states = tf.tidy(() => {
          const join = (_: Hooks, features: tf.Tensor3D, ids: tf.Tensor2D) =>
            tf.concat([features, this.languageModel.embedPrompt(ids)], 1) as tf.Tensor3D;
          const inputsEmbeds = h.block('language_model.shared', join, imageFeatures, promptIds); // [B, S, D]
          return this.executor.encode(inputsEmbeds, mask, h);
        });
        return { states, mask };
      } catch (error) {
        mask?.dispose(); // a hook may throw
        throw error;
      }
    });
  }

  /** Returns a limit on wasm only, whose heap ends at 4 GiB. */
  imagesPerPass(height: number, width: number): number {
    return (this.backend ?? tf.getBackend()) === 'wasm' ? imagesOf(height, width) : Infinity;
  }

  visionMap(pixels: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    return this.visionTower.forward(pixels, h.in('vision_tower'));
  }

  encode(inputsEmbeds: tf.Tensor3D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    return this.languageModel.encoder.forward(inputsEmbeds, mask, h.in('language_model.encoder'));
  }

  newCaches(states: tf.Tensor3D, h: Hooks): LayerCache[] {
    return this.languageModel.decoder.newCaches(states, h.in('language_model.decoder'));
  }

  decodeStep(tokens: tf.Tensor2D, memory: Memory, caches: readonly LayerCache[], h: Hooks): tf.Tensor2D {
    return tf.tidy(() => {
      const embeds = this.languageModel.embedAnswer(tokens); // [rows, 1, D]
      const hidden = this.languageModel.decoder.forward(embeds, memory, caches, h.in('language_model.decoder')); // [rows, 1, D]
      return tf.squeeze(this.lmHead.forward(hidden, h), [1]) as tf.Tensor2D; // [rows, V]
    });
  }

  /** Teacher forcing: tokens of given answers [B, T] -> logits of the token after each, [B, T, V] */
  logits(decoderInputIds: tf.Tensor2D, memory: Memory, h: Hooks): tf.Tensor3D {
    return this.compute(() =>
      tf.tidy(() => {
        const embed = (_: Hooks, ids: tf.Tensor2D) => this.languageModel.embedAnswer(ids);
        const embeds = h.block('language_model.shared', embed, decoderInputIds); // [B, T, D]
        const hidden = this.languageModel.decoder.forward(embeds, memory, null, h.in('language_model.decoder')); // [B, T, D]
        return h.block('', (h, hidden) => this.lmHead.forward(hidden, h), hidden);
      }),
    );
  }

  /**
   * Initialises the embeddings of `count` new tokens with ids from `first` on, and their rows of a separate head, with
   * the mean of all rows before `first`. A new token is then as likely as an average one (Hewitt 2021,
   * https://nlp.stanford.edu/~johnhew/vocab-expansion.html). The tables grow if they are too short.
   */
  addTokenRows(first: number, count: number): void {
    const { shared, answers } = this.languageModel;
    const tables = [shared.weight, ...[answers.weight, this.lmHead.weight].filter(({ loaded }) => loaded)];
    const grown = (table: Parameter) => tf.tidy(() => withMeanRows(table.value as tf.Tensor2D, first, count));
    for (const table of tables) this.compute(() => table.resize(grown(table)));
    const vocabSize = shared.weight.shape[0];
    this.compute(() => this.lmHead.resize(vocabSize));
    this.currentConfig = { ...this.config, text: { ...this.config.text, vocabSize } };
  }

  dispose(): void {
    if (this.executor !== this) this.executor.dispose();
    this.executor = this; // so that a later call reports the disposal
    for (const parameter of this.parameters.values()) parameter.dispose();
    this.lmHead.dispose();
  }
}

/** Returns a table [V, D] with `count` rows from `first` on set to the mean of the rows before, extended if needed. */
function withMeanRows(table: tf.Tensor2D, first: number, count: number): tf.Tensor2D {
  const [V] = table.shape;
  const known = tf.slice(table, [0, 0], [first, -1]);
  const fresh = tf.tile(tf.mean(known, 0, true), [count, 1]); // [count, D]
  const spare = Math.max(0, V - first - count);
  return tf.concat([known, fresh, tf.slice(table, [V - spare, 0], [spare, -1])]) as tf.Tensor2D;
}
