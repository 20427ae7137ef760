import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import {
  anything,
  checkKind,
  checkOptions,
  count,
  integer,
  type Kind,
  listOf,
  type OptionTable,
  oneOf,
  whole,
} from '../options.ts';
import { type AttentionLayer, readHeads } from './attention_parts.ts';
import { readWindowAttention, type WindowAttentionMap, windowPoints } from './window_maps.ts';

/**
 * The kinds of attention in Florence-2:
 *
 * - `window`: between the positions of a window (DaViT)
 * - `channel`: between the channels of a group (DaViT)
 * - `encoder`: between the positions of image and prompt
 * - `decoder`: from the answer's tokens to the tokens before them
 * - `cross`: from the answer's tokens to image and prompt
 */
export type AttentionKind = 'window' | 'channel' | 'encoder' | 'decoder' | 'cross';

export type { AttentionLayer } from './attention_parts.ts';

/** The weights of one attention, downloaded from the backend. */
export interface AttentionMap {
  /** The kind of attention, or the method that combined several layers. */
  kind: Exclude<AttentionKind, 'window'> | 'rollout' | 'relevance';
  /** The layer; `all` for a rollout, the decoder's layers separated by commas for a relevance. */
  layer: string;
  /** Weights in row-major order; those of each query sum to 1 over the keys. */
  values: Float32Array;
  /** [heads, queries, keys], or [queries, keys] for one head. */
  shape: number[];
  /** Names of the queries. Without labels: their indices from 0. */
  queries: string[];
  /** Names of the keys. Without labels: their indices from 0. */
  keys: string[];
  /**
   * Rows and columns of the image's map, from the labels. Key 0 is the mean token, the next rows · columns keys are the
   * cells of the map row by row, and the rest is the prompt. Absent without labels and for channel and decoder
   * attention.
   */
  grid?: [rows: number, columns: number];
}

/** Names for the positions of encoder and decoder, see `attentionLabels`. All fields are optional. */
export interface AttentionLabels {
  /** Rows and columns of the image's map. */
  grid?: [rows: number, columns: number];
  /** Names of the encoder's S positions. */
  positions?: readonly string[];
  /** The decoder's T input tokens, which are the keys of its self-attention. */
  given?: readonly string[];
  /** The T tokens that the decoder predicts, which name the queries of its attentions. */
  said?: readonly string[];
}

/** Options of `attention`. */
export interface AttentionOptions {
  /**
   * Generation step, from 0; negative numbers count from the last step that was kept. The map then has one query, the
   * token that the step produces. Default: all steps that were kept, joined into one map.
   */
  step?: number;
  /**
   * Index of the image in a batch or, for a generation step, of the sequence (`image · beams + beam`). Default 0: the
   * first image, and its best beam at that step.
   */
  row?: number;
  /** Names for queries and keys. Default: their indices. */
  labels?: AttentionLabels;
}

const ATTENTION_OPTIONS: OptionTable<AttentionOptions> = { step: integer, row: whole, labels: anything };

const NAMES = listOf({ expected: '', allows: name => typeof name === 'string' }, 'names');

const LABELS: OptionTable<AttentionLabels> = {
  grid: listOf(count, 'two numbers'),
  ...{ positions: NAMES, given: NAMES, said: NAMES },
};

/** One of the kinds of attention. */
export const KIND: Kind = oneOf('window', 'channel', 'encoder', 'decoder', 'cross');

const PATTERNS: Record<Exclude<AttentionKind, 'window'>, string> = {
  channel: 'vision_tower.blocks.{layer}.channel_block.channel_attn.hook_channel_pattern',
  encoder: 'language_model.encoder.layers.{layer}.self_attn.hook_pattern',
  decoder: 'language_model.decoder.layers.{layer}.self_attn.hook_pattern',
  cross: 'language_model.decoder.layers.{layer}.encoder_attn.hook_pattern',
};

/** Returns the hook points to capture for `attention`: those of one layer or, by default, globs for all layers. */
export function attentionPoints(kind: AttentionKind, layer?: AttentionLayer): string[] {
  checkKind('The kind of attention', kind, KIND);
  if (kind === 'window') return windowPoints(layer ?? '*.*');
  return [pattern(kind, layer ?? (kind === 'channel' ? '*.*' : '*'))];
}

/**
 * Returns the weights of one attention layer from activations captured at `attentionPoints(kind)`, in a run
 * (`runWithCache`) or under teacher forcing (`captureForced`).
 *
 * - `window`: each position of a stage's map to the positions of its window, see `windowAttentionFrom`
 * - `channel`: [groups, c, c], each channel to the channels of its group; groups take the place of heads
 * - `encoder`: [heads, S, S]
 * - `decoder`: [heads, T, T]; query t is the position that predicts token t of the answer, its keys are the tokens
 *   before it, beginning with the start token
 * - `cross`: [heads, T, S], each token of the answer to image and prompt; `overImage` splits a query's weights
 *
 * A generation step has a single query. By default the steps are joined into the shapes above, with zeros for keys that
 * come later. That requires a single sequence: with beams or batches, a row holds a different sequence at each step.
 * Then read one step at a time (`options.step`), or capture the answer under teacher forcing.
 *
 * @param layer number of the layer, or `'stage.block'` for `window` and `channel`
 * @param head index of one head (for `channel`: group). Default: all
 * @throws UsageError if the points were not kept, several sequences would have to be joined, or the labels do not fit
 */
export function attention(
  cache: ActivationCache,
  kind: 'window',
  layer: AttentionLayer,
  head?: number,
  options?: AttentionOptions,
): Promise<WindowAttentionMap>;
export function attention(
  cache: ActivationCache,
  kind: Exclude<AttentionKind, 'window'>,
  layer: AttentionLayer,
  head?: number,
  options?: AttentionOptions,
): Promise<AttentionMap>;
export async function attention(
  cache: ActivationCache,
  kind: AttentionKind,
  layer: AttentionLayer,
  head?: number,
  options: AttentionOptions = {},
): Promise<AttentionMap | WindowAttentionMap> {
  checkKind('The kind of attention', kind, KIND);
  checkOptions('attention', options, ATTENTION_OPTIONS);
  if (options.labels) checkOptions('labels', options.labels, LABELS);
  if (kind === 'window') return readWindowAttention(cache, layer, head, options.row);
  const name = pattern(kind, layer);
  const { step } = options;
  const kept = cache.steps(name);
  const joined = step === undefined && kept.length > 0;
  const weights = joined
    ? await joinSteps(cache, name, head, kept, options)
    : await readRow(cache, name, head, options);
  const { values, heads, queries, keys } = weights;
  const steps = kept.length === 0 ? undefined : step === undefined ? kept : [step < 0 ? kept.at(step)! : step];
  return {
    kind,
    layer: String(layer),
    values,
    shape: head === undefined ? [heads, queries, keys] : [queries, keys],
    ...labelled(kind, { queries, keys, head, steps }, options.labels),
  };
}

/** Attention weights [heads, queries, keys] of one sequence. */
interface Weights {
  readonly values: Float32Array;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
}

const pattern = (kind: Exclude<AttentionKind, 'window'>, layer: AttentionLayer): string =>
  PATTERNS[kind].replace('{layer}', String(layer));

/** Reads one sequence of an activation; of a generation step, only the newest position. */
async function readRow(
  cache: ActivationCache,
  name: string,
  head: number | undefined,
  { step, row }: AttentionOptions,
): Promise<Weights> {
  const { values, shape } = await readHeads(cache, name, { step, row, head });
  const [, heads, T, keys] = shape;
  if (cache.steps(name).length === 0 || T === 1) return { values: values.slice(), heads, queries: T, keys };
  const newest = new Float32Array(heads * keys); // without a key/value cache, each step recomputes all positions
  for (let h = 0; h < heads; h++) {
    const end = (h + 1) * T * keys;
    newest.set(values.subarray(end - keys, end), h * keys);
  }
  return { values: newest, heads, queries: 1, keys };
}

/** Joins the steps of a generation with one sequence into the map that a single pass would have. */
async function joinSteps(
  cache: ActivationCache,
  name: string,
  head: number | undefined,
  steps: readonly number[],
  options: AttentionOptions,
): Promise<Weights> {
  if (steps.some(step => cache.shape(name, { step })[0] > 1)) {
    throw new UsageError(
      `${name} was kept for several sequences, and a row holds a different one at each step: choose a step, or capture the answer under teacher forcing (captureForced).`,
    );
  }
  const rows: Weights[] = [];
  for (const step of steps) rows.push(await readRow(cache, name, head, { ...options, step }));
  const keys = Math.max(...rows.map(row => row.keys));
  const { heads } = rows[0];
  const values = new Float32Array(heads * rows.length * keys);
  for (const [i, row] of rows.entries()) {
    for (let h = 0; h < heads; h++) {
      values.set(row.values.subarray(h * row.keys, (h + 1) * row.keys), (h * rows.length + i) * keys);
    }
  }
  return { values, heads, queries: rows.length, keys };
}

interface Axes {
  readonly queries: number;
  readonly keys: number;
  readonly head: number | undefined;
  /** The generation steps, one per query. */
  readonly steps: readonly number[] | undefined;
}

function labelled(
  kind: Exclude<AttentionKind, 'window'>,
  { queries, keys, head = 0, steps }: Axes,
  { grid, positions, given, said }: AttentionLabels = {},
): Pick<AttentionMap, 'queries' | 'keys' | 'grid'> {
  if (kind === 'channel') {
    const channels = numbers(keys, head * keys);
    return { queries: channels, keys: channels };
  }
  const ofMemory = () => {
    if (positions && positions.length !== keys) {
      throw new UsageError(`The labels name ${positions.length} positions, but the encoder had ${keys}.`);
    }
    return positions ? [...positions] : numbers(keys);
  };
  const ofAnswer = (labels: readonly string[] | undefined, at: readonly number[]) => {
    const longest = Math.max(...at) + 1;
    if (labels && (steps ? labels.length < longest : labels.length !== longest)) {
      throw new UsageError(`The labels name ${labels.length} tokens, but the decoder had ${longest}.`);
    }
    return at.map(position => labels?.[position] ?? String(position));
  };
  if (kind === 'encoder') {
    const labels = ofMemory();
    return { queries: labels, keys: labels, ...(grid && { grid }) };
  }
  const queryNames = ofAnswer(said, steps ?? [...Array(queries).keys()]);
  if (kind === 'decoder') return { queries: queryNames, keys: ofAnswer(given, [...Array(keys).keys()]) };
  return { queries: queryNames, keys: ofMemory(), ...(grid && { grid }) };
}

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => String(from + i));
