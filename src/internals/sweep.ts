import type * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import { type ActivationCache, HEADED } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { Capture } from '../hooks/capture.ts';
import { abortSignal, anything, callback, count, listOf, type OptionTable, oneOf, required, text } from '../options.ts';
import { forcedLogits } from './forced_pass.ts';
import { type Replacement, replaceAt } from './intervention.ts';
import type { RowMetric } from './logit_metrics.ts';
import type { Question } from './question.ts';
import { HEADS, POSITIONS, type Site } from './site.ts';

/** The sites of a sweep: every layer by every head or position, or the regions of the image. */
export interface SweepPlan {
  /**
   * The axes of the grid.
   *
   * - `heads`, `positions`: one row per layer, one column per head or position
   * - `heads and positions`: one row per head, one column per position, at a single hook point
   * - `sublayers`: one row per layer, one column per sublayer (attention, cross-attention, MLP)
   * - `patches`: rows and columns of the image's map
   */
  over: 'heads' | 'positions' | 'heads and positions' | 'sublayers' | 'patches';
  /**
   * The hook point, with `{layer}` in place of the layer's number:
   * `language_model.decoder.layers.{layer}.hook_resid_post`. Required, except for patches: default
   * `multi_modal_projector.hook_image_features`; `vision_tower.hook_pixels` selects regions of the input image. For
   * sublayers the layers: `language_model.decoder.layers.{layer}`.
   */
  at?: string;
  /** Layers to sweep over, for points with `{layer}`. Default: all. */
  layers?: readonly (number | string)[];
  /** Indices of the heads, for sweeps over heads. Default: all. */
  heads?: readonly number[];
  /** Indices of the positions, for sweeps over positions; negative ones count from the end. Default: all. */
  positions?: readonly number[];
  /** Side of a patch in cells of the map, for sweeps over patches. Default 1. */
  patch?: number;
}

/** Options of `patchSweep` and `ablationSweep`. */
export interface SweepOptions {
  /**
   * Number of interventions per pass; each is one row of the batch. Default: 32 for points of the decoder, 8 for the
   * encoder, 4 for the vision tower (on wasm at most 768×768 pixels per pass).
   */
  batchSize?: number;
  /** Called after each pass with the number of interventions measured so far. */
  onProgress?: (progress: { done: number; total: number }) => void;
  /** Stops between two passes; its reason is thrown. */
  signal?: AbortSignal;
}

/** The kinds of the fields of a plan and of the options of a sweep. */
export const SWEEP: OptionTable<SweepPlan & SweepOptions> = {
  over: required(oneOf('heads', 'positions', 'heads and positions', 'sublayers', 'patches')),
  at: text,
  layers: listOf(anything, 'layers'),
  ...{ heads: HEADS, positions: POSITIONS },
  ...{ patch: count, batchSize: count, onProgress: callback, signal: abortSignal },
};

/** The result of a sweep: one number per intervention. */
export interface Grid {
  /** Names of the rows: layers, heads, or rows of the image's map. */
  readonly rows: string[];
  /** Names of the columns: heads, positions (cells or tokens), sublayers, or columns of the image's map. */
  readonly columns: string[];
  /** Numbers of rows and columns. */
  readonly shape: [rows: number, columns: number];
  /** Values of the metric, row by row: [rows · columns]. */
  readonly values: Float32Array;
}

/** A grid before it is measured, with the site of each intervention in row-major order. */
export interface PlannedGrid extends Omit<Grid, 'values'> {
  /** One site per cell of the grid, row by row. */
  readonly sites: readonly PlacedSite[];
}

type PlacedSite = Site & { readonly at: string };

/** The shape of the activation at each point, by the point's name. */
export type PointShapes = ReadonlyMap<string, readonly number[]>;

/**
 * Runs a question without intervention: returns the metric, and the shapes of the plan's points.
 *
 * @param options.answer the question that the metric receives. Default: the same question
 * @param options.cache receives the activations at the points
 * @throws UsageError for points that do not exist
 */
export async function survey(
  model: Florence2,
  question: Question,
  plan: SweepPlan,
  metric: RowMetric,
  { answer = question, cache }: { answer?: Question; cache?: ActivationCache } = {},
): Promise<{ shapes: PointShapes; value: number }> {
  const shapes = new Map<string, readonly number[]>();
  const capture = new Capture(planPoints(plan), {
    put(name, step, tensor) {
      shapes.set(name, tensor.shape);
      if (cache) cache.put(name, step, tensor);
      else tensor.dispose();
    },
  });
  const row = rowValues(model.withHooks([capture.hook]), question, metric, answer, 1);
  const [value] = (await download(row)).values;
  capture.requireAll();
  return { shapes, value };
}

/** Returns the names of the plan's points, or a glob that matches them. */
function planPoints({ over, at, layers }: SweepPlan): string[] {
  const point = at ?? (over === 'patches' ? 'multi_modal_projector.hook_image_features' : undefined);
  if (point === undefined) throw new UsageError(`A sweep over ${over} needs a hook point: set \`at\`.`);
  const hasLayers = point.includes('{layer}');
  if (over === 'patches' && hasLayers)
    throw new UsageError(`A sweep over patches takes a single hook point, not ${point}.`);
  if (hasLayers !== (layers !== undefined) && !hasLayers)
    throw new UsageError(`layers was given, but ${point} has no {layer}.`);
  const points = layers
    ? layers.map(layer => point.replaceAll('{layer}', String(layer)))
    : [point.replaceAll('{layer}', '*')];
  return over === 'sublayers' ? points.map(layer => `${layer}.hook_*_out`) : points;
}

/** Returns every intervention of a plan, and the names of rows and columns. */
export function planGrid(model: Florence2, question: Question, plan: SweepPlan, shapes: PointShapes): PlannedGrid {
  const points = [...shapes.keys()];
  if (plan.over === 'patches') return patchGrid(question, points[0], plan.patch ?? 1);
  if (plan.over === 'sublayers') return sublayerGrid(plan, points);
  if (plan.over === 'heads and positions') return headGrid(model, question, plan, shapes);
  const [first] = points;
  const overHeads = plan.over === 'heads';
  const shape = shapes.get(first)!;
  const axis = overHeads ? 1 : shape.length - 2;
  const size = Math.max(...points.map(point => shapes.get(point)![axis]));
  const chosen = (overHeads ? plan.heads : plan.positions) ?? Array.from({ length: size }, (_, i) => i);
  const columns = overHeads ? chosen.map(String) : positionNames(model, question, first, size, chosen);
  const sites = points.flatMap(at => chosen.map(one => (overHeads ? { at, heads: [one] } : { at, positions: [one] })));
  return { rows: rowNames(plan, points), columns, shape: [points.length, columns.length], sites };
}

/**
 * Measures the metric of every intervention. Each is one row of a pass over the question, which starts as late as the
 * points allow.
 *
 * @param answer the question that the metric receives
 */
export async function measure(
  model: Florence2,
  question: Question,
  sites: readonly PlacedSite[],
  by: Replacement,
  metric: RowMetric,
  options: SweepOptions,
  answer = question,
): Promise<Float32Array> {
  const { onProgress, signal } = options;
  const batchSize = options.batchSize ?? defaultBatch(model, question, sites);
  const values = new Float32Array(sites.length);
  for (let done = 0; done < sites.length; ) {
    signal?.throwIfAborted();
    const batch = sites.slice(done, done + batchSize);
    const hooks = [...new Set(batch.map(({ at }) => at))].map(at => {
      const rows = batch.map(site => (site.at === at ? site : null));
      return replaceAt(model.config.vision, rows, by);
    });
    const rows = rowValues(model.withHooks(hooks), question, metric, answer, batch.length);
    values.set((await download(rows)).values, done);
    done += batch.length;
    onProgress?.({ done, total: sites.length });
  }
  return values;
}

/** Runs a forced pass with the model's hooks and returns the metric of each row, [rows]. */
export function rowValues(
  model: Florence2,
  question: Question,
  metric: RowMetric,
  answer: Question,
  rows: number,
): tf.Tensor1D {
  return model.tidy(() => {
    const logits = forcedLogits(model, question, { rows });
    const values = metricOf(logits, metric, answer);
    if (values.rank === 1 && values.shape[0] === rows) return values;
    throw new UsageError(`The metric must return one number per row, [${rows}], not [${values.shape}].`);
  });
}

/** Measures logits of one question with the answer of another. @throws UsageError if that needs equal lengths */
function metricOf(logits: tf.Tensor3D, metric: RowMetric, answer: Question): tf.Tensor1D {
  const [wanted, T] = [answer.answerIds.length, logits.shape[1]];
  try {
    return metric(logits, answer);
  } catch (error) {
    if (wanted === T || !(error instanceof UsageError)) throw error;
    const lengths = `The answer of clean has ${wanted} tokens, that of corrupted ${T}`;
    throw new UsageError(`${lengths}: ask corrupted with { answer: clean.answerIds }. ${error.message}`, {
      cause: error,
    });
  }
}

function defaultBatch({ hooks, model }: Florence2, question: Question, sites: readonly PlacedSite[]): number {
  const { pointsFrom, pixels } = question;
  const [, height, width] = pixels.shape;
  const hasHooks = (part: 'pixels' | 'features') =>
    hooks.meets(pointsFrom[part]) || sites.some(({ at }) => pointsFrom[part].includes(at));
  if (hasHooks('pixels')) return Math.min(4, model.imagesPerPass(height, width));
  return hasHooks('features') ? 8 : 32;
}

/** One row per head of a point, one column per position. */
function headGrid(model: Florence2, question: Question, plan: SweepPlan, shapes: PointShapes): PlannedGrid {
  const [[at, [, count, size]], another] = shapes;
  if (another) throw new UsageError(`A sweep over heads and positions takes a single hook point, not ${plan.at}.`);
  if (!HEADED.test(at)) throw new UsageError(`${at} has no heads; its shape is [${shapes.get(at)}].`);
  const [heads, positions] = [plan.heads ?? range(count), plan.positions ?? range(size)];
  const sites = heads.flatMap(head => positions.map(position => ({ at, heads: [head], positions: [position] })));
  const columns = positionNames(model, question, at, size, positions);
  return { rows: heads.map(String), columns, shape: [heads.length, columns.length], sites };
}

/** One row per layer, one column per sublayer. */
function sublayerGrid(plan: SweepPlan, points: readonly string[]): PlannedGrid {
  const leafOf = (point: string): string => point.slice(point.lastIndexOf('.') + 1);
  const columns = [...new Set(points.map(leafOf))];
  const rows = rowNames(
    plan,
    points.filter(point => leafOf(point) === columns[0]),
  );
  return { rows, columns, shape: [rows.length, columns.length], sites: points.map(at => ({ at })) };
}

function patchGrid({ grid: [height, width] }: Question, at: string, side: number): PlannedGrid {
  if (at.startsWith('language_model.decoder.')) throw new UsageError(`${at} has no positions in the image.`);
  const [rows, columns] = [Math.ceil(height / side), Math.ceil(width / side)];
  const sites = range(rows * columns).map(patch => {
    const [top, left] = [Math.floor(patch / columns) * side, (patch % columns) * side];
    const inside = range(side * side)
      .map(i => [top + Math.floor(i / side), left + (i % side)])
      .filter(([y, x]) => y < height && x < width);
    return { at, positions: inside.map(([y, x]) => 1 + y * width + x) };
  });
  return { rows: range(rows).map(String), columns: range(columns).map(String), shape: [rows, columns], sites };
}

/** Returns the name of each position: the decoder's input token, or the name in `question.positions`. */
function positionNames(
  model: Florence2,
  question: Question,
  point: string,
  size: number,
  positions: readonly number[],
): string[] {
  const isDecoder = /^language_model\.decoder\.|^hook_logits$/.test(point) && !/\.encoder_attn\.hook_[kv]$/.test(point);
  const names = isDecoder ? model.tokenizer.tokenTexts(question.decoderIds) : question.positions;
  return positions.map(position => names[position < 0 ? size + position : position] ?? String(position));
}

/** Returns the layer of each point: the part of its name in place of `{layer}`. */
function rowNames({ at, layers }: SweepPlan, points: readonly string[]): string[] {
  if (layers) return layers.map(String);
  const [before, ...after] = (at ?? '').split('{layer}');
  if (after.length === 0) return [...points];
  return points.map(point => point.slice(before.length).split('.')[0]);
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
