import * as tf from '@tensorflow/tfjs';
import { HEADED } from '../activations/cache.ts';
import type { VisionConfig } from '../config/model.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { requirePoints } from '../hooks/filter.ts';
import type { HookFilter, HookPoint } from '../hooks/hooks.ts';
import { anything, checkOptions, integer, listOf, type OptionTable, whole } from '../options.ts';
import { mapSize } from '../vision/davit.ts';

/** The place of an intervention: hook points, and which heads and positions of their activations. */
export interface Site {
  /** Hook points, by name or pattern. */
  readonly at: HookFilter;
  /**
   * Indices of heads, at points that have them (`hook_z`, `hook_q`, …); of groups in channel attention. Default: all.
   */
  readonly heads?: readonly number[];
  /**
   * Indices of positions. Default: all. Negative numbers count from the end of a sequence.
   *
   * - Encoder: the positions of `question.positions`, which are the mean token, the cells of the image's map and the
   *   prompt.
   * - Projector: the mean token and the cells.
   * - Pixels and maps of the vision tower, at every resolution: the cells only. Position 1 + row · columns + column is
   *   the region of the image that the cell covers.
   * - Decoder: the positions of the answer; in a generation, its steps.
   */
  readonly positions?: readonly number[];
}

export const HEADS = listOf(whole, 'head indices');
export const POSITIONS = listOf(integer, 'positions');

/** The kinds of the fields of a site. */
export const SITE: OptionTable<Site> = { at: anything, heads: HEADS, positions: POSITIONS };

/** @throws UsageError for unknown fields, and if `at` matches no hook point of the model */
export function checkSite({ model }: Florence2, site: Site): void {
  checkOptions('A site', site, SITE);
  requirePoints(site.at, model.hookNames);
}

/** Position embeddings, which have no batch axis. */
const TABLE = /(^|\.)hook_(pos|temporal)_embed$/;
const VISION = /^vision_tower\.(?:hook_pixels$|(?:convs|blocks)\.(\d+)\.)/;
const CROSS_KEYS = /\.encoder_attn\.hook_[kv]$/;

/**
 * Returns the mask of a site: 1 where an activation belongs to it, 0 elsewhere. It broadcasts to the activation.
 *
 * @param sites one per row of the batch, null for rows without a site, or a single site for all rows
 * @param shape shape of the activation
 * @throws UsageError for heads or positions that do not exist
 */
export function siteMask(
  config: VisionConfig,
  sites: readonly (Site | null)[],
  point: HookPoint,
  shape: readonly number[],
): tf.Tensor {
  const { name } = point;
  const rows = sites.length;
  if (TABLE.test(name)) return tableMask(sites, name, shape);
  const windows = rows === 1 ? 1 : shape[0] / rows; // the windows of one image are adjacent
  if (!Number.isInteger(windows))
    throw new UsageError(`${name} has ${shape[0]} rows, which ${rows} sites do not divide.`);
  const isHeaded = HEADED.test(name);
  if (!isHeaded && sites.some(site => site?.heads))
    throw new UsageError(`${name} has no heads; its shape is [${shape}].`);
  const space = isHeaded ? [shape[2]] : shape.slice(1, -1); // [P] or [H, W]
  const somewhere = sites.some(site => site?.positions);
  const extent = somewhere ? space : space.map(() => 1);

  const parts = sites.flatMap(site => {
    const heads = isHeaded ? headBits(site, name, shape[1]) : [1];
    const positions = somewhere ? positionBits(config, site, point, space) : [1];
    const row = heads.flatMap(head => positions.map(position => (site ? head * position : 0)));
    return Array.from({ length: windows }, () => row);
  });
  return tf.tensor(parts.flat(), [parts.length, ...(isHeaded ? [shape[1]] : []), ...extent, 1], 'float32');
}

function tableMask(sites: readonly (Site | null)[], name: string, shape: readonly number[]): tf.Tensor {
  const [site] = sites;
  if (sites.length > 1 || !site || site.heads || site.positions) {
    throw new UsageError(
      `${name} is a position embedding that all rows share: it takes a single site without heads or positions.`,
    );
  }
  return tf.ones(shape.map(() => 1));
}

function headBits(site: Site | null, name: string, count: number): number[] {
  for (const head of site?.heads ?? []) {
    if (!(Number.isInteger(head) && head >= 0 && head < count)) {
      throw new UsageError(`Head ${head} does not exist at ${name}; heads are 0 to ${count - 1}.`);
    }
  }
  return bits(count, head => site?.heads?.includes(head) ?? true);
}

/** Returns 0 or 1 per position of `space`, row by row for maps. */
function positionBits(
  config: VisionConfig,
  site: Site | null,
  point: HookPoint,
  space: readonly number[],
): readonly number[] {
  const wanted = site?.positions;
  const size = space.reduce((a, b) => a * b, 1);
  if (!wanted) return bits(size, () => true);
  const stage = VISION.exec(point.name);
  if (!stage) return sequenceBits(wanted, point, size);
  if (space.length < 2) throw new UsageError(`${point.name} has no positions in the image.`);
  return mapBits(config, wanted, point.name, space, stage[1] === undefined ? 0 : Number(stage[1]) + 1);
}

/** Returns 0 or 1 per position. The activation of a generation step holds the last positions of the sequence so far. */
function sequenceBits(wanted: readonly number[], { name, step }: HookPoint, size: number): number[] {
  const generating = step !== undefined && !CROSS_KEYS.test(name);
  const length = generating ? step + 1 : size;
  for (const position of wanted) {
    const fits = Number.isInteger(position) && (generating || (position >= -length && position < length));
    if (!fits)
      throw new UsageError(`Position ${position} does not exist at ${name}; positions are 0 to ${length - 1}.`);
  }
  const chosen = new Set(wanted.map(position => (position < 0 ? length + position : position)));
  return bits(size, i => chosen.has(length - size + i));
}

/** Returns 1 for the parts of the input map of stage `next` that the wanted cells of the final map cover, else 0. */
function mapBits(
  config: VisionConfig,
  wanted: readonly number[],
  name: string,
  [height, width]: readonly number[],
  next: number,
): number[] {
  const [rows, columns] = mapSize(config, height, width, next);
  for (const position of wanted) {
    if (!(Number.isInteger(position) && position >= 1 && position <= rows * columns)) {
      throw new UsageError(
        `Position ${position} does not exist at ${name}; the image's map has positions 1 to ${rows * columns}.`,
      );
    }
  }
  const chosen = new Set(wanted.map(position => position - 1));
  return bits(height * width, i => {
    const [y, x] = [Math.floor(i / width), i % width];
    return chosen.has(Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width));
  });
}

const bits = (count: number, isSet: (i: number) => boolean): number[] =>
  Array.from({ length: count }, (_, i) => (isSet(i) ? 1 : 0));
