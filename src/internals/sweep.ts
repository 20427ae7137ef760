import * as tf from '@tensorflow/tfjs';
import { download } from '../activations/activation.ts';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { Capture } from '../hooks/capture.ts';
import { type Replacement, replaceAt } from './intervention.ts';
import type { RowMetric } from './logit_metrics.ts';
import { forcedLogits, type Question } from './question.ts';
import type { Site } from './site.ts';

/** What a sweep goes over: every point of `at` by every position or head, or the parts of the image. */
export interface SweepPlan {
  /**
   * - `heads`, `positions`: a row for each layer, a column for each head or position
   * - `patches`: rows and columns of the image's map
   */
  over: 'heads' | 'positions' | 'patches';
  /**
   * A hook point, `{layer}` in place of a number for a row of each layer: `language_model.decoder.layers.{layer}.hook_resid_post`.
   * For patches default `multi_modal_projector.hook_image_features`; `vision_tower.hook_pixels` are the pixels.
   */
  at?: string;
  /** Default: all that there are. */
  layers?: readonly (number | string)[];
  /** Columns over heads. Default: all. */
  heads?: readonly number[];
  /** Columns over positions. Default: all. */
  positions?: readonly number[];
  /** Over patches: how many cells of the map a patch has on each side. Default 1. */
  patch?: number;
}

export interface SweepOptions {
  /** How many interventions are rows of one pass. Default: 32 in the decoder, 8 in the encoder, 4 in the vision tower (1 on wasm). */
  batchSize?: number;
  /** How many interventions have been measured. */
  onProgress?: (progress: { done: number; total: number }) => void;
  /** Stops between two batches; its reason is thrown. */
  signal?: AbortSignal;
}

/** A number for each intervention. */
export interface Grid {
  /** Layers, or rows of the image's map. */
  readonly rows: string[];
  /** Heads, positions (what is there), or columns of the image's map. */
  readonly columns: string[];
  readonly shape: [rows: number, columns: number];
  /** Of the metric, row after row. */
  readonly values: Float32Array;
}

/** Interventions at one place each, in the order of the grid. */
export interface PlannedGrid extends Omit<Grid, 'values'> {
  readonly sites: readonly PlacedSite[];
}

type PlacedSite = Site & { readonly at: string };

/** The shapes of some points in a pass over a question. */
export type PointShapes = ReadonlyMap<string, readonly number[]>;

/**
 * A pass over one question as it is: the metric, and the shapes of all points that the plan may be about.
 *
 * @param options.answer the question that the metric is given
 * @param options.cache what keeps the activations at these points
 * @throws UsageError for points that are not there
 */
export async function survey(
  model: Florence2,
  question: Question,
  plan: SweepPlan,
  metric: RowMetric,
  { answer = question, cache }: { answer?: Question; cache?: ActivationCache } = {},
): Promise<{ shapes: PointShapes; value: number }> {
  const shapes = new Map<string, readonly number[]>();
  const capture = new Capture(model.hooks, pointsOf(plan), {
    put(name, step, tensor) {
      shapes.set(name, tensor.shape);
      if (cache) cache.put(name, step, tensor);
      else tensor.dispose();
    },
  });
  let row: tf.Tensor1D;
  try {
    row = rowValues(model, question, metric, answer, 1);
  } finally {
    capture.stop();
  }
  const [value] = (await download(row)).values;
  capture.requireAll();
  return { shapes, value };
}

/** The names of the plan's points, or a glob for them. */
export function pointsOf({ over, at, layers }: SweepPlan): string[] {
  const point = at ?? (over === 'patches' ? 'multi_modal_projector.hook_image_features' : undefined);
  if (point === undefined) throw new UsageError(`A sweep over ${over} needs a hook point in \`at\`.`);
  const hasLayers = point.includes('{layer}');
  if (over === 'patches' && hasLayers) throw new UsageError(`A sweep over patches is at one point, not at ${point}.`);
  if (hasLayers !== (layers !== undefined) && !hasLayers) throw new UsageError(`There is no {layer} in ${point}.`);
  return layers ? layers.map(layer => point.replaceAll('{layer}', String(layer))) : [point.replaceAll('{layer}', '*')];
}

/** Every intervention of a plan, and what its rows and columns are called. */
export function planGrid(model: Florence2, question: Question, plan: SweepPlan, shapes: PointShapes): PlannedGrid {
  const points = [...shapes.keys()];
  if (plan.over === 'patches') return patchGrid(question, points[0], plan.patch ?? 1);
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
 * The metric of every intervention: each is a row of a pass over the question, which begins as late as it can.
 *
 * @param answer the question that the metric is given
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
  if (!(Number.isSafeInteger(batchSize) && batchSize >= 1)) {
    throw new UsageError(`batchSize must be a whole number, not ${batchSize}.`);
  }
  const values = new Float32Array(sites.length);
  for (let done = 0; done < sites.length; ) {
    signal?.throwIfAborted();
    const batch = sites.slice(done, done + batchSize);
    const remove = model.hooks.addAll(
      [...new Set(batch.map(({ at }) => at))].map(at => {
        const rows = batch.map(site => (site.at === at ? site : null));
        return replaceAt(model.config.vision, rows, by);
      }),
    );
    let rows: tf.Tensor1D;
    try {
      rows = rowValues(model, question, metric, answer, batch.length);
    } finally {
      remove();
    }
    values.set((await download(rows)).values, done);
    done += batch.length;
    onProgress?.({ done, total: sites.length });
  }
  return values;
}

/** The metric of each row of a forced pass with the model's hooks, [rows]. */
export function rowValues(
  model: Florence2,
  question: Question,
  metric: RowMetric,
  answer: Question,
  rows: number,
): tf.Tensor1D {
  return tf.tidy(() => {
    const values = metric(forcedLogits(model, question, { rows }), answer);
    if (values.rank === 1 && values.shape[0] === rows) return values;
    throw new UsageError(`The metric must give one number for each of ${rows} rows, [${rows}], not [${values.shape}].`);
  });
}

function defaultBatch({ hooks, model }: Florence2, { pointsFrom }: Question, sites: readonly PlacedSite[]): number {
  const hasHooks = (part: 'pixels' | 'features') =>
    hooks.meets(pointsFrom[part]) || sites.some(({ at }) => pointsFrom[part].includes(at));
  if (hasHooks('pixels')) return Math.min(4, model.imagesPerPass());
  return hasHooks('features') ? 8 : 32;
}

function patchGrid({ grid: [height, width] }: Question, at: string, side: number): PlannedGrid {
  if (!(Number.isSafeInteger(side) && side >= 1)) throw new UsageError(`patch must be a whole number, not ${side}.`);
  if (at.startsWith('language_model.decoder.')) throw new UsageError(`${at} has no parts of the image.`);
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

/** What is at each position. */
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

/** What stands in place of `{layer}`. */
function rowNames({ at, layers }: SweepPlan, points: readonly string[]): string[] {
  if (layers) return layers.map(String);
  const [before, ...after] = (at ?? '').split('{layer}');
  if (after.length === 0) return [...points];
  return points.map(point => point.slice(before.length).split('.')[0]);
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
