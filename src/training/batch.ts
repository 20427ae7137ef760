import * as tf from '@tensorflow/tfjs';
import type { TextConfig } from '../config/model.ts';
import type { TokenizedTarget } from '../datasets/tokenize.ts';
import { LOCATION_BINS } from '../text/locations.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** Targets of a batch of images as tensors: R rows, padded on the right. */
export interface Batch {
  /** The index of each target's image, [R] int32 */
  imageIndex: tf.Tensor1D;
  promptIds: tf.Tensor2D; // [R, T] int32
  /** Null if no prompt is padded. */
  promptMask: tf.Tensor2D | null; // [R, T] int32
  decoderInputIds: tf.Tensor2D; // [R, L] int32
  labels: tf.Tensor2D; // [R, L] int32
  /** The weight of each label in the loss; 0 for padding. */
  weights: tf.Tensor2D; // [R, L]
}

/** Options of `labelWeights`. */
export interface LabelWeightOptions {
  /** Weight of location tokens; other tokens have weight 1. */
  locationWeight: number;
  tokenizer: Tokenizer;
}

/** Returns the weight of each token of each answer. */
export function labelWeights(
  targets: TokenizedTarget[],
  { locationWeight, tokenizer }: LabelWeightOptions,
): number[][] {
  const first = tokenizer.tokenToId('<loc_0>') ?? Number.POSITIVE_INFINITY;
  const isLocation = (id: number): boolean => id >= first && id < first + LOCATION_BINS;
  return targets.map(({ answerIds }) => answerIds.map(id => (isLocation(id) ? locationWeight : 1)));
}

/**
 * Collates targets into tensors. Padding is masked in prompts and has weight 0 in answers. Decoder inputs are the start
 * token followed by the answer without its last token.
 *
 * @param imageIndex the index of each target's image
 * @param weights the weights of each answer's tokens, see `labelWeights`
 */
export function collate(
  targets: TokenizedTarget[],
  imageIndex: number[],
  weights: number[][],
  { padTokenId, decoderStartTokenId }: TextConfig,
): Batch {
  const prompts = targets.map(({ promptIds }) => promptIds);
  const answers = targets.map(({ answerIds }) => answerIds);
  const padded = prompts.some(({ length }) => length !== prompts[0].length);
  const ones = prompts.map(ids => ids.map(() => 1));
  return {
    imageIndex: tf.tensor1d(imageIndex, 'int32'),
    promptIds: table(prompts, padTokenId, 'int32'),
    promptMask: padded ? table(ones, 0, 'int32') : null,
    decoderInputIds: table(
      answers.map(ids => [decoderStartTokenId, ...ids.slice(0, -1)]),
      padTokenId,
      'int32',
    ),
    labels: table(answers, padTokenId, 'int32'),
    weights: table(weights, 0, 'float32'),
  };
}

/**
 * Splits targets by answer length into two groups, which the decoder runs one after the other, each padded to its
 * longest answer. Returns one group if splitting would save less than a quarter of the decoder's positions.
 *
 * @returns the indices of the targets in each group
 */
export function lengthGroups(targets: readonly TokenizedTarget[]): number[][] {
  const length = (i: number): number => targets[i].answerIds.length;
  const sorted = targets.map((_, i) => i).sort((a, b) => length(a) - length(b));
  const longest = length(sorted.at(-1)!);
  const positions = (split: number): number =>
    (split === 0 ? 0 : split * length(sorted[split - 1])) + (sorted.length - split) * longest;
  const splits = sorted.map((_, split) => split);
  const best = splits.reduce((best, split) => (positions(split) < positions(best) ? split : best), 0);
  if (positions(best) > 0.75 * positions(0)) return [sorted];
  return [sorted.slice(0, best), sorted.slice(best)];
}

export function disposeBatch({ imageIndex, promptIds, promptMask, decoderInputIds, labels, weights }: Batch): void {
  tf.dispose([imageIndex, promptIds, promptMask ?? [], decoderInputIds, labels, weights]);
}

/** Pads rows on the right to the longest. */
function table(rows: number[][], filler: number, dtype: 'int32' | 'float32'): tf.Tensor2D {
  const longest = Math.max(...rows.map(({ length }) => length));
  const filled = rows.map(row => [...row, ...new Array<number>(longest - row.length).fill(filler)]);
  return tf.tensor2d(filled, [rows.length, longest], dtype);
}
