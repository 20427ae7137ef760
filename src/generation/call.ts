import * as tf from '@tensorflow/tfjs';
import type { GenerationConfig } from '../config/generation.ts';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import type { HookRegistry } from '../hooks/hooks.ts';
import type { ImageFeatures } from '../image/features.ts';
import { preprocess, toTensor } from '../image/preprocess.ts';
import type { RawImage } from '../image/types.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import type { Adaptation } from '../nn/params.ts';
import type { AnswerTokens } from '../results/parse/answer.ts';
import { locationTokens } from '../text/locations.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import type { Constraint } from './constraint.ts';
import type { DecodingSession, GeneratedSequence } from './decoding.ts';
import { type GenerationOptions, type GenerationSettings, resolveGeneration, rowsPerItem } from './options.ts';
import { CachedSession, encodePrompts, UncachedSession } from './session.ts';

/** What the passes of a call use: the model, and the hooks and adapters of this call. `Florence2` has them all. */
export interface Call {
  readonly model: Florence2Model;
  readonly hooks: HookRegistry;
  readonly adaptation?: Adaptation;
  readonly tokenizer: Tokenizer;
  readonly preprocessor: PreprocessorConfig;
  readonly generation: GenerationConfig;
}

/** Options of the generations of a call. */
export interface SessionOptions extends GenerationOptions {
  signal?: AbortSignal;
  /** By prompt; null: no constraint. Default: none. */
  constraints?: readonly (Constraint | null)[];
}

/** Encodes images in as many passes as the backend needs -> image features of each, [1, 1 + N, D] */
export function encodeImages(call: Call, images: readonly RawImage[]): tf.Tensor3D[] {
  const { model, preprocessor, adaptation } = call;
  const h = call.hooks.root();
  const encode = () => {
    const perPass = model.executor.imagesPerPass(preprocessor.height, preprocessor.width, h);
    const starts = images.map((_, i) => i).filter(i => i % perPass === 0);
    return starts.flatMap(start => {
      const batch = images.slice(start, start + perPass);
      return tf.tidy(() => {
        const pixels = toTensor(preprocess(batch, preprocessor)); // [B, H, W, 3]
        return tf.split(model.encodeImage(pixels, h), batch.length) as tf.Tensor3D[];
      });
    });
  };
  return model.compute(() => tf.tidy(encode), adaptation);
}

/** Returns the settings of a call's generation. @throws UsageError for wrong options */
export function settingsOf({ model, tokenizer, generation }: Call, options: GenerationOptions): GenerationSettings {
  const settings = resolveGeneration(options, generation, model.config.text, tokenizer);
  return { ...settings, locations: locationTokens(tokenizer) };
}

/**
 * Encodes the prompts and starts a decoding session, which the caller disposes.
 *
 * @param features one image for each prompt
 * @throws UsageError for wrong options; the signal's reason
 */
export function startSession(
  call: Call,
  features: readonly ImageFeatures[],
  prompts: string[],
  { signal, constraints, ...options }: SessionOptions,
): { session: DecodingSession; settings: GenerationSettings; signal?: AbortSignal } {
  signal?.throwIfAborted();
  const { model, hooks, adaptation } = call;
  const settings = { ...settingsOf(call, options), constraints };
  const memory = model.compute(() => encodePrompts(call, features, prompts), adaptation);
  const Session = settings.useCache ? CachedSession : UncachedSession;
  try {
    return { session: new Session(model, memory, rowsPerItem(settings), hooks, adaptation), settings, signal };
  } finally {
    tf.dispose([memory.states, memory.mask ?? []]);
  }
}

/** Returns a sequence for `parse`, which knows only `</s>`: it is in the place of another end token. */
export function answerTokens(
  { tokenizer }: Call,
  { eosTokenIds }: GenerationSettings,
  { ids, logProbs, nearbyProbs }: GeneratedSequence,
): AnswerTokens {
  const ended = eosTokenIds.includes(ids.at(-1)!);
  return { ids: ended ? [...ids.slice(0, -1), tokenizer.eosTokenId] : ids, logProbs, nearbyProbs, tokenizer };
}
