import * as tf from '@tensorflow/tfjs';
import { HEADED } from '../activations/cache.ts';
import type { VisionConfig } from '../config/model.ts';
import { UsageError } from '../errors.ts';
import type { HookFilter, HookPoint } from '../hooks/hooks.ts';
import { mapSize } from '../vision/davit.ts';

/** Where something is done to activations: hook points, and which part of them. */
export interface Site {
  readonly at: HookFilter;
  /** Heads of points that have them (`hook_z`, `hook_q`, …); of channel attention its groups. Default: all. */
  readonly heads?: readonly number[];
  /**
   * Default: all. In the encoder those of `question.positions`: the mean token, the cells of the image's map, the
   * prompt. The projector's points have the first of these, and maps of the vision tower, whatever their resolution, and
   * pixels have the cells: position 1 + row · columns + column is that part of the image. In the decoder the positions of
   * the answer, in a generation its steps. Negative ones count from the end.
   */
  readonly positions?: readonly number[];
}

/** Tables of positions lie outside of the batch. */
const TABLE = /(^|\.)hook_(pos|temporal)_embed$/;
const VISION = /^vision_tower\.(?:hook_pixels$|(?:convs|blocks)\.(\d+)\.)/;
const CROSS_KEYS = /\.encoder_attn\.hook_[kv]$/;

/**
 * 1 where an activation belongs to a site, 0 elsewhere, as a tensor that broadcasts to the activation.
 *
 * @param sites of each row of the batch, null for rows that have none; or one for all rows
 * @throws UsageError for heads or positions that are not there
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
  const windows = rows === 1 ? 1 : shape[0] / rows; // windows of one image come one after the other
  if (!Number.isInteger(windows)) throw new UsageError(`${name} has ${shape[0]} rows, for ${rows} sites.`);
  const isHeaded = HEADED.test(name);
  if (!isHeaded && sites.some(site => site?.heads)) throw new UsageError(`${name} has no heads: it is [${shape}].`);
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
    throw new UsageError(`${name} is a table that all rows share: it can only be treated as a whole.`);
  }
  return tf.ones(shape.map(() => 1));
}

function headBits(site: Site | null, name: string, count: number): number[] {
  for (const head of site?.heads ?? []) {
    if (!(Number.isInteger(head) && head >= 0 && head < count)) {
      throw new UsageError(`${name} has heads 0 to ${count - 1}, not ${head}.`);
    }
  }
  return bits(count, head => site?.heads?.includes(head) ?? true);
}

/** One number for each position of `space`, row after row where it is a map. */
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
  if (space.length < 2) throw new UsageError(`${point.name} has no positions of the image.`);
  return mapBits(config, wanted, point.name, space, stage[1] === undefined ? 0 : Number(stage[1]) + 1);
}

/** A step of a generation has the last positions of all so far. */
function sequenceBits(wanted: readonly number[], { name, step }: HookPoint, size: number): number[] {
  const generating = step !== undefined && !CROSS_KEYS.test(name);
  const length = generating ? step + 1 : size;
  for (const position of wanted) {
    const fits = Number.isInteger(position) && (generating || (position >= -length && position < length));
    if (!fits) throw new UsageError(`${name} has positions 0 to ${length - 1}, not ${position}.`);
  }
  const chosen = new Set(wanted.map(position => (position < 0 ? length + position : position)));
  return bits(size, i => chosen.has(length - size + i));
}

/** The cells of the image's last map, as parts of a map of `space` that goes into stage `next`. */
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
      throw new UsageError(`${name} has the positions 1 to ${rows * columns} of the image's map, not ${position}.`);
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
