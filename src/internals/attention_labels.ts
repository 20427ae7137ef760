import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { checkKind } from '../options.ts';
import type { AttentionLabels, AttentionMap } from './attention_maps.ts';
import { headOf, isIndex } from './attention_parts.ts';
import { QUESTION, type Question } from './question.ts';

/**
 * Returns labels for the positions of a question's passes. They also fit other runs on the same image and task; if the
 * answer differs, leave out `given` and `said`.
 */
export function attentionLabels({ tokenizer }: Florence2, question: Question): Required<AttentionLabels> {
  checkKind('question', question, QUESTION);
  const { grid, positions, decoderIds, answerIds } = question;
  return {
    grid,
    positions,
    given: tokenizer.tokenTexts(decoderIds),
    said: tokenizer.tokenTexts(answerIds),
  };
}

/** The attention weights of one query over the encoder's positions, grouped by kind. All weights sum to 1. */
export interface WeightsOverImage {
  /** Weights on the cells of the image's map, row by row: [rows · columns]. */
  image: Float32Array;
  /** Rows and columns of the image's map. */
  grid: [rows: number, columns: number];
  /** Weight on the token that holds the mean of the map. */
  mean: number;
  /** Weights on the prompt's tokens. */
  prompt: { text: string; weight: number }[];
}

/**
 * Splits the weights of one query into image, mean token and prompt. Works for maps over the encoder's positions:
 * `cross`, `encoder`, `rollout` and `relevance`.
 *
 * @param map a map that was read with labels, which contain the image's grid
 * @param query index of the token or position
 * @param head index of the head. Default: the mean over the heads
 * @throws UsageError if the map has no grid, or the query or head does not exist
 */
export function overImage(map: AttentionMap, query: number, head?: number): WeightsOverImage {
  const { grid, keys, queries } = map;
  if (!grid) throw new UsageError('This map has no image grid: read the attention with labels (attentionLabels).');
  if (!isIndex(query, queries.length)) {
    throw new UsageError(`Query ${query} does not exist; queries are 0 to ${queries.length - 1}.`);
  }
  const weights = headOf(map, head).subarray(query * keys.length, (query + 1) * keys.length);
  const end = 1 + grid[0] * grid[1];
  return {
    image: weights.slice(1, end),
    grid,
    mean: weights[0],
    prompt: keys.slice(end).map((text, i) => ({ text, weight: weights[end + i] })),
  };
}
