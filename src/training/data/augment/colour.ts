import type { RawImage } from '../../../image/types.ts';

/** Factors: 1 changes nothing, 0 gives black, one grey, or a grey image. */
export interface ColourFactors {
  brightness: number;
  contrast: number;
  saturation: number;
}

/** Brightness, then contrast, then saturation, to the last bit as Pillow's ImageEnhance. */
export function adjustColours(image: RawImage, { brightness, contrast, saturation }: ColourFactors): RawImage {
  let { data } = image;
  if (brightness !== 1) data = data.map(byLevel(0, brightness));
  if (contrast !== 1) data = data.map(byLevel(meanGrey(data), contrast));
  if (saturation !== 1) data = saturate(data, saturation);
  return { ...image, data };
}

function byLevel(from: number, factor: number): (level: number) => number {
  const levels = Uint8Array.from({ length: 256 }, (_, level) => blend(from, level, factor));
  return level => levels[level];
}

function saturate(data: Uint8Array, factor: number): Uint8Array {
  const changed = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i += 3) {
    const light = grey(data, i);
    for (let c = i; c < i + 3; c++) changed[c] = blend(light, data[c], factor);
  }
  return changed;
}

/** Pillow's blend: float32, cut to a whole level. */
function blend(from: number, to: number, factor: number): number {
  const level = Math.fround(from + Math.fround(Math.fround(factor) * (to - from)));
  return Math.trunc(Math.min(Math.max(level, 0), 255));
}

/** ITU-R 601-2 luma in 16-bit fixed point, as Pillow converts to grey. */
const grey = (data: Uint8Array, i: number): number =>
  (data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16;

function meanGrey(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 3) sum += grey(data, i);
  return Math.trunc(sum / (data.length / 3) + 0.5);
}
