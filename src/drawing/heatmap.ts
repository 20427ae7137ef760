import type { OverlayOptions } from 'sharp';
import { UsageError } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import type { DecodeOptions, ImageInput } from '../image/types.ts';

/** A number for each part of an image, whatever their size: the map lies over the whole of it. */
export interface Heatmap extends ImageSize {
  readonly data: Float32Array; // [H, W], row after row
}

export interface HeatmapOptions extends DecodeOptions {
  /** Of the strongest value, 0 to 1. Default 0.8. */
  opacity?: number;
  /** The value that has full colour, without its sign. Default: what 99 of 100 do not exceed, for single pixels stand out. */
  max?: number;
  /** Show the map's own cells instead of a smooth surface. Default false. */
  cells?: boolean;
}

/** Colours of values from 0 to 1, dark to light as the eye sees them. */
const WARM = ['#3b0f70', '#8c2981', '#de4968', '#fe9f6d', '#fcfdbf'];
const COLD = ['#10305a', '#1f5f8b', '#3b93b5', '#80c8c4', '#e0f7e4'];

/**
 * Draws a map over its image: the larger a value, the less transparent its colour, warm where it is positive and cold where it is
 * negative. Returns a PNG file of the image's size. Node only.
 *
 * @throws Florence2Error when the image cannot be read
 */
export async function drawHeatmap(
  image: ImageInput,
  map: Heatmap,
  { opacity = 0.8, max, cells = false, ...decoding }: HeatmapOptions = {},
): Promise<Uint8Array> {
  const [{ default: sharp }, { decodeImage }] = await Promise.all([import('sharp'), import('../image/decode.ts')]);
  const { data, width, height } = await decodeImage(image, decoding);
  const { width: columns, height: rows } = map;
  if (map.data.length !== rows * columns || rows * columns === 0) {
    throw new UsageError(`A map of ${columns}x${rows} has ${rows * columns} values, not ${map.data.length}.`);
  }
  const colors = sharp(colored(map, opacity, max), { raw: { width: columns, height: rows, channels: 4 } });
  const kernel = cells ? 'nearest' : 'cubic';
  const overlay: OverlayOptions = {
    input: await colors.resize(width, height, { fit: 'fill', kernel }).raw().toBuffer(),
    raw: { width, height, channels: 4 },
  };
  return sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false })
    .composite([overlay])
    .removeAlpha()
    .png()
    .toBuffer();
}

/** RGBA of each value. */
function colored({ data }: Heatmap, opacity: number, max = usual(data)): Uint8Array {
  const pixels = new Uint8Array(4 * data.length);
  data.forEach((value, i) => {
    const strength = max > 0 ? Math.min(1, Math.abs(value) / max) : 0;
    pixels.set([...colorOf(value < 0 ? COLD : WARM, strength), Math.round(255 * opacity * strength)], 4 * i);
  });
  return pixels;
}

function usual(values: Float32Array): number {
  const sizes = values.map(Math.abs).sort();
  return sizes[Math.ceil(0.99 * sizes.length) - 1];
}

/** A colour between those of a scale. */
function colorOf(scale: readonly string[], strength: number): number[] {
  const at = strength * (scale.length - 1);
  const [low, high] = [scale[Math.floor(at)], scale[Math.ceil(at)]];
  const channel = (hex: string, i: number) => Number.parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  return [0, 1, 2].map(i => Math.round(channel(low, i) + (at % 1) * (channel(high, i) - channel(low, i))));
}
