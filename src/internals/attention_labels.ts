import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { AttentionLabels, AttentionMap } from './attention_maps.ts';
import { headOf, isIndex } from './attention_parts.ts';
import type { Question } from './question.ts';

/**
 * What the positions of a question's passes are. They fit runs on the same image and task too; where the answer is
 * another one, leave `given` and `said` out.
 */
export function attentionLabels({ tokenizer }: Florence2, question: Question): Required<AttentionLabels> {
  const { grid, positions, decoderIds, answerIds } = question;
  return {
    grid,
    positions,
    given: tokenizer.tokenTexts(decoderIds),
    said: tokenizer.tokenTexts(answerIds),
  };
}

/** Weights on the encoder's positions, by what these are. All together sum to 1. */
export interface WeightsOverImage {
  /** On the image's map, row by row. */
  image: Float32Array;
  grid: [rows: number, columns: number];
  /** On the token that is the mean of the map. */
  mean: number;
  /** On the prompt's tokens. */
  prompt: { text: string; weight: number }[];
}

/**
 * Takes one query's weights on image and prompt apart: where a token of the answer looked (`cross`), or a position of the
 * encoder (`encoder`), or what either goes back to (`rollout`, `relevance`).
 *
 * @param map an attention that was read with labels, as it must know the image's grid
 * @param query index of the token or position
 * @param head default: the mean of the heads
 */
export function overImage(map: AttentionMap, query: number, head?: number): WeightsOverImage {
  const { grid, keys, queries } = map;
  if (!grid) throw new UsageError('Where the image is among the positions is not known: read attention with labels.');
  if (!isIndex(query, queries.length)) {
    throw new UsageError(`There are queries 0 to ${queries.length - 1}, not ${query}.`);
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
