import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import { type AttentionLayer, readHeads } from './attention_parts.ts';
import { readWindowAttention, type WindowAttentionMap, windowPoints } from './window_maps.ts';

/**
 * Attentions of the model: among the positions of a window and among the channels of a group (DaViT), of image and
 * prompt among themselves (encoder), of the answer's tokens to those before (decoder) and to image and prompt (cross).
 */
export type AttentionKind = 'window' | 'channel' | 'encoder' | 'decoder' | 'cross';

export type { AttentionLayer } from './attention_parts.ts';

/** Weights of attention as plain numbers. */
export interface AttentionMap {
  kind: Exclude<AttentionKind, 'window'> | 'rollout' | 'relevance';
  layer: string;
  /** Query by query; each query's weights, over the keys, sum to 1. */
  values: Float32Array;
  /** [heads, queries, keys], or [queries, keys] of one head. */
  shape: number[];
  /** What asks, and what is looked at. Numbers, from 0, where no labels were given. */
  queries: string[];
  keys: string[];
  /**
   * Rows and columns of the image's map, where labels were given: key 0 is the mean token, those from 1 on are the map
   * row by row, then comes the prompt. Absent in channel and decoder attention.
   */
  grid?: [rows: number, columns: number];
}

/** What the positions of encoder and decoder are, see `attentionLabels`. Each is optional. */
export interface AttentionLabels {
  grid?: [rows: number, columns: number];
  /** Of the encoder's S positions. */
  positions?: readonly string[];
  /** The tokens that the decoder is given, which are the keys of its self-attention. */
  given?: readonly string[];
  /** The tokens that its positions say, which are the queries of its attentions. */
  said?: readonly string[];
}

export interface AttentionOptions {
  /**
   * A step of a generation; negative counts from the last that was kept. Its one query is the token that the step makes.
   * Default: all steps that were kept, as one map.
   */
  step?: number;
  /**
   * Which image of a batch, or which sequence of a generation's step (`image · beams + beam`). Default 0: the only one,
   * or the best beam of that step.
   */
  row?: number;
  labels?: AttentionLabels;
}

const PATTERNS: Record<Exclude<AttentionKind, 'window'>, string> = {
  channel: 'vision_tower.blocks.{layer}.channel_block.channel_attn.hook_channel_pattern',
  encoder: 'language_model.encoder.layers.{layer}.self_attn.hook_pattern',
  decoder: 'language_model.decoder.layers.{layer}.self_attn.hook_pattern',
  cross: 'language_model.decoder.layers.{layer}.encoder_attn.hook_pattern',
};

/** The hook points that `attention` reads: what to capture. Of one layer; by default globs for all. */
export function attentionPoints(kind: AttentionKind, layer?: AttentionLayer): string[] {
  if (kind === 'window') return windowPoints(layer ?? '*.*');
  return [pattern(kind, layer ?? (kind === 'channel' ? '*.*' : '*'))];
}

/**
 * Weights of one attention from activations that were kept at `attentionPoints(kind)`, by a run or under teacher forcing.
 *
 * - `window`: each position of a stage's map on the map, see `windowAttentionFrom`
 * - `channel`: [groups, c, c], each channel of a group on the others; a head is a group
 * - `encoder`: [heads, S, S]
 * - `decoder`: [heads, T, T], query t is the position that says the answer's token t; its keys are the tokens given
 *   before, the start token first
 * - `cross`: [heads, T, S], where each token of the answer looks; `overImage` takes it apart
 *
 * In a generation each step has one query, and its steps are put together here to the same form, with weights of 0 for
 * tokens that come later. With several sequences in flight (beams, batches) that cannot be: a row is another sequence at
 * each step. There one step is read at a time, and the whole by asking with the answer under teacher forcing.
 *
 * @param head one head (of channel attention: group), from 0. Default: all
 * @throws UsageError for what was not kept, and for labels that do not fit
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

/** Weights [heads, queries, keys] of one sequence. */
interface Weights {
  readonly values: Float32Array;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
}

const pattern = (kind: Exclude<AttentionKind, 'window'>, layer: AttentionLayer): string =>
  PATTERNS[kind].replace('{layer}', String(layer));

/** One sequence of an activation; of a generation's step its newest position. */
async function readRow(
  cache: ActivationCache,
  name: string,
  head: number | undefined,
  { step, row }: AttentionOptions,
): Promise<Weights> {
  const { values, shape } = await readHeads(cache, name, { step, row, head });
  const [, heads, T, keys] = shape;
  if (cache.steps(name).length === 0 || T === 1) return { values: values.slice(), heads, queries: T, keys };
  const newest = new Float32Array(heads * keys); // without a key/value cache each step computes all positions again
  for (let h = 0; h < heads; h++) {
    const end = (h + 1) * T * keys;
    newest.set(values.subarray(end - keys, end), h * keys);
  }
  return { values: newest, heads, queries: 1, keys };
}

/** The steps of a generation of one sequence, as if all had been one pass. */
async function joinSteps(
  cache: ActivationCache,
  name: string,
  head: number | undefined,
  steps: readonly number[],
  options: AttentionOptions,
): Promise<Weights> {
  if (steps.some(step => cache.shape(name, { step })[0] > 1)) {
    throw new UsageError(
      `${name} was kept of several sequences, and a row is another one at each step: name a step, or capture the answer under teacher forcing (captureForced).`,
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
  /** Of a generation, one for each query. */
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
      throw new UsageError(`The labels are of ${positions.length} positions; the encoder had ${keys}.`);
    }
    return positions ? [...positions] : numbers(keys);
  };
  const ofAnswer = (labels: readonly string[] | undefined, at: readonly number[]) => {
    const longest = Math.max(...at) + 1;
    if (labels && (steps ? labels.length < longest : labels.length !== longest)) {
      throw new UsageError(`The labels are of ${labels.length} tokens; the decoder had ${longest}.`);
    }
    return at.map(position => labels?.[position] ?? String(position));
  };
  if (kind === 'encoder') {
    const labels = ofMemory();
    return { queries: labels, keys: labels, ...(grid && { grid }) };
  }
  const asking = ofAnswer(said, steps ?? [...Array(queries).keys()]);
  if (kind === 'decoder') return { queries: asking, keys: ofAnswer(given, [...Array(keys).keys()]) };
  return { queries: asking, keys: ofMemory(), ...(grid && { grid }) };
}

const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => String(from + i));
