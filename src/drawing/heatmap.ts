import { UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { DECODE_OPTIONS, type DecodeOptions } from '../image/types.ts';
import { number, type OptionTable, onOff, share } from '../options.ts';

/** A grid of values that covers an image. The size of the grid is independent of the size of the image. */
export interface Heatmap extends ImageSize {
  readonly data: Float32Array; // [H, W], row after row
}

/** Options of `drawHeatmap`. */
export interface HeatmapOptions extends DecodeOptions {
  /** Opacity of the strongest value, 0 to 1. Default 0.8. */
  opacity?: number;
  /**
   * The absolute value that has full colour. Default: the 99th percentile of all absolute values, because single values
   * are often outliers.
   */
  max?: number;
  /** Whether the map's cells are shown as rectangles instead of a smooth surface. Default false. */
  cells?: boolean;
}

/** The kinds of those options. */
export const HEATMAP_OPTIONS: OptionTable<HeatmapOptions> = {
  ...DECODE_OPTIONS,
  ...{ opacity: share, max: number, cells: onOff },
};

/** Colours of values from 0 to 1, with increasing lightness. */
const WARM = ['#3b0f70', '#8c2981', '#de4968', '#fe9f6d', '#fcfdbf'];
const COLD = ['#10305a', '#1f5f8b', '#3b93b5', '#80c8c4', '#e0f7e4'];

/** Returns the RGBA pixels of a map, [H, W, 4]: the larger an absolute value, the less transparent its colour. */
export function heatmapColors(
  { data, width, height }: Heatmap,
  { opacity = 0.8, max = percentile99(data) }: Pick<HeatmapOptions, 'opacity' | 'max'>,
): Uint8Array {
  if (data.length !== width * height || data.length === 0) {
    throw new UsageError(`A map of ${width}x${height} has ${width * height} values, not ${data.length}.`);
  }
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
  const channel = (hex: string, i: number) => Number.parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  return [0, 1, 2].map(i => Math.round(channel(low, i) + (at % 1) * (channel(high, i) - channel(low, i))));
}
