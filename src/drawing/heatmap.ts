import { UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { DECODE_OPTIONS, type DecodeOptions } from '../image/types.ts';
import { count, instanceOf, type Kind, number, type OptionTable, objectWith, onOff, share } from '../options.ts';
import { channelsOf } from './colors.ts';

/** A grid of values that covers an image. The size of the grid is independent of the size of the image. */
export interface Heatmap extends ImageSize {
  readonly data: Float32Array; // [H, W], row after row
}

/** A map, as an argument of another call. */
export const HEATMAP: Kind = objectWith(
  { data: instanceOf(Float32Array, 'a Float32Array'), width: count, height: count },
  'a map with data (a Float32Array), width and height',
);

/** Options of `drawHeatmap`. */
export interface HeatmapOptions extends DecodeOptions {
  /** Opacity of the strongest value, 0 to 1. Default 0.8. */
  opacity?: number;
  /**
   * The absolute value that has full colour; larger ones have it too. Default: the 99th percentile of all absolute
   * values, because single values are often outliers.
   */
  max?: number;
  /** Whether a colour bar with the range of values is drawn below the image. Default true. */
  bar?: boolean;
  /** Whether the map's cells are shown as rectangles instead of a smooth surface. Default false. */
  cells?: boolean;
}

/** The kinds of those options. */
export const HEATMAP_OPTIONS: OptionTable<HeatmapOptions> = {
  ...DECODE_OPTIONS,
  ...{ opacity: share, max: number, bar: onOff, cells: onOff },
};

/** Colours of values from 0 to 1, with increasing lightness. */
const WARM = ['#3b0f70', '#8c2981', '#de4968', '#fe9f6d', '#fcfdbf'];
const COLD = ['#10305a', '#1f5f8b', '#3b93b5', '#80c8c4', '#e0f7e4'];

/** How the values of a map become colours. */
export interface HeatScale {
  opacity: number;
  /** The absolute value of full colour. */
  max: number;
  /** Whether there are negative values. */
  signed: boolean;
  /** Whether there are values below `-max`, and above `max`. */
  exceeded: { below: boolean; above: boolean };
}

/** Returns the scale of a map. @throws UsageError if the number of values does not fit the map's size */
export function heatScale(
  { data, width, height }: Heatmap,
  { opacity = 0.8, max = percentile99(data) }: Pick<HeatmapOptions, 'opacity' | 'max'>,
): HeatScale {
  if (data.length !== width * height || data.length === 0) {
    throw new UsageError(`A map of ${width}x${height} has ${width * height} values, not ${data.length}.`);
  }
  const exceeded = { below: data.some(value => value < -max), above: data.some(value => value > max) };
  return { opacity, max, signed: data.some(value => value < 0), exceeded };
}

/** Returns the values along a colour bar from its left end to its right one, and the texts of its ends and its 0. */
export function colorBar({ max, signed, exceeded }: HeatScale, width: number): { values: Heatmap; texts: string[] } {
  const low = signed ? -max : 0;
  const data = Float32Array.from({ length: width }, (_, i) => low + ((max - low) * i) / Math.max(1, width - 1));
  const written = String(Number(max.toPrecision(2)));
  const least = signed ? [`${exceeded.below ? '≤ ' : ''}−${written}`] : [];
  const texts = [...least, '0', `${exceeded.above ? '≥ ' : ''}${written}`];
  return { values: { data, width, height: 1 }, texts };
}

/** Returns the RGBA pixels of a map, [H, W, 4]: the larger an absolute value, the less transparent its colour. */
export function heatmapColors({ data }: Heatmap, { opacity, max }: HeatScale): Uint8Array {
  const pixels = new Uint8Array(4 * data.length);
  data.forEach((value, i) => {
    const strength = max > 0 ? Math.min(1, Math.abs(value) / max) : 0;
    pixels.set([...colorOf(value < 0 ? COLD : WARM, strength), Math.round(255 * opacity * strength)], 4 * i);
  });
  return pixels;
}

function percentile99(values: Float32Array): number {
  const sizes = values.map(Math.abs).sort();
  return sizes[Math.ceil(0.99 * sizes.length) - 1];
}

/** Interpolates linearly between the colours of a scale. */
function colorOf(scale: readonly string[], strength: number): number[] {
  const at = strength * (scale.length - 1);
  const [low, high] = [scale[Math.floor(at)], scale[Math.ceil(at)]];
  const [from, to] = [channelsOf(low), channelsOf(high)];
  return from.map((channel, i) => Math.round(channel + (at % 1) * (to[i] - channel)));
}
