import * as tf from '@tensorflow/tfjs';
import { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { Capture } from '../hooks/capture.ts';
import type { HookFilter, HookRegistry } from '../hooks/hooks.ts';
import { checkKind, checkOptions, count, instanceOf, type OptionTable, oneOf } from '../options.ts';
import { FEATURES, type PassStart, QUESTION, type Question } from './question.ts';

/** Options of `forcedLogits` and `captureForced`. */
export interface ForcedOptions {
  /** Number of copies of the question that run as one batch; hooks can then treat each row differently. Default 1. */
  rows?: number;
  /**
   * Where the pass starts. Default: the latest start at which all hooks still run. Earlier parts would only recompute
   * the question's own tensors.
   */
  from?: PassStart;
  /**
   * Other images for the rows, normalised like `question.pixels`: [rows, H, W, 3]. The pass then starts from `pixels`.
   */
  pixels?: tf.Tensor4D;
}

/** The kinds of those options. */
export const FORCED_OPTIONS: OptionTable<ForcedOptions> = {
  rows: count,
  from: oneOf('pixels', 'features', 'memory'),
  pixels: instanceOf(tf.Tensor, 'a tensor'),
};

/**
 * Runs a pass under teacher forcing with the model's hooks and returns the logits [rows, T, V] of all answer positions.
 * The caller disposes them.
 *
 * Position embeddings (`hook_pos_embed`, `hook_temporal_embed`) are shared by the rows and have no batch axis.
 *
 * @throws UsageError for wrong options, or if they contradict each other
 */
export function forcedLogits(model: Florence2, question: Question, options: ForcedOptions = {}): tf.Tensor3D {
  checkOptions('forcedLogits', options, FORCED_OPTIONS);
  checkKind('question', question, QUESTION);
  const { hooks, model: network } = model;
  const { pixels } = options;
  const rows = options.rows ?? pixels?.shape[0] ?? 1;
  if (pixels && (pixels.shape[0] !== rows || (options.from ?? 'pixels') !== 'pixels')) {
    throw new UsageError(
      `Images [${pixels.shape}] do not fit ${rows} rows of a pass from ${options.from ?? 'pixels'}.`,
    );
  }
  const from = pixels ? 'pixels' : (options.from ?? latestStart(hooks, question));
  const h = hooks.root();
  const ids = (of: readonly number[]) => tf.tile(tf.tensor2d([...of], [1, of.length], 'int32'), [rows, 1]);
  return model.tidy(() => {
    const encode = (): tf.Tensor3D => {
      const features =
        from === 'pixels'
          ? network.encodeImage(pixels ?? repeat(question.pixels, rows), h)
          : h.at(FEATURES, repeat(question.features, rows)); // [rows, 1 + N, D]
      return network.encodePrompt(features, ids(question.promptIds), null, h).states;
    };
    // Rows share one memory, and its keys and values, unless a hook could change keys or values per row.
    const ownKeys = hooks.meets(keyPoints(network.config.text.decoderLayers));
    const states = from === 'memory' ? repeat(question.memory, ownKeys ? rows : 1) : encode(); // [rows or 1, S, D]
    return network.logits(ids(question.decoderIds), { states, mask: null }, h);
  });
}

/**
 * Runs a pass under teacher forcing and keeps the activations at the matching hook points. The caller disposes the
 * cache.
 *
 * @param names hook points to keep
 * @throws UsageError for a name or pattern that matches no point of the pass
 */
export function captureForced(
  model: Florence2,
  question: Question,
  names: HookFilter,
  options: ForcedOptions = {},
): ActivationCache {
  checkOptions('captureForced', options, FORCED_OPTIONS);
  const cache = new ActivationCache();
  const capture = new Capture(names, cache);
  try {
    forcedLogits(model.withHooks([capture.hook]), question, options).dispose();
    capture.requireAll();
    Object.assign(cache.metadata, question.metadata);
    return cache;
  } catch (error) {
    cache.dispose();
    throw error;
  }
}

const keyPoints = (layers: number): string[] =>
  Array.from({ length: layers }, (_, layer) =>
    ['hook_k', 'hook_v'].map(leaf => `language_model.decoder.layers.${layer}.encoder_attn.${leaf}`),
  ).flat();

/** Returns the latest start before which no hook would run. */
function latestStart(hooks: HookRegistry, { pointsFrom }: Question): PassStart {
  if (hooks.meets(pointsFrom.pixels)) return 'pixels';
  return hooks.meets(pointsFrom.features) ? 'features' : 'memory';
}

/** Repeats a tensor [1, …] to [rows, …]. */
export function repeat<T extends tf.Tensor>(tensor: T, rows = 1): T {
  return rows === 1 || tensor.shape[0] === rows
    ? tensor
    : (tf.tile(tensor, [rows, ...new Array<number>(tensor.rank - 1).fill(1)]) as T);
}
