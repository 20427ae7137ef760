import { resizeBicubic } from '../../image/resize.ts';
import type { RawImage } from '../../image/types.ts';

/** Mirrors an image horizontally. */
export function flipImage({ data, width, height }: RawImage): RawImage {
  const flipped = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = 3 * (y * width + x);
      const to = 3 * (y * width + width - 1 - x);
      flipped[to] = data[from];
      flipped[to + 1] = data[from + 1];
      flipped[to + 2] = data[from + 2];
    }
  }
  return { data: flipped, width, height };
}

/** Returns the part of an image of width × height whose upper left corner is (x, y). */
export function cropImage(image: RawImage, x: number, y: number, width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = 3 * ((y + row) * image.width + x);
    data.set(image.data.subarray(from, from + 3 * width), 3 * row * width);
  }
  return { data, width, height };
}

/** The mean colour of ImageNet, which normalisation maps to 0. */
const CANVAS = [124, 116, 104];

/** Resizes an image to width × height and places it at (x, y) on a plain canvas of the original size. */
export function shrinkImage(image: RawImage, x: number, y: number, width: number, height: number): RawImage {
  const small = resizeBicubic(image, width, height);
  const data = new Uint8Array(image.data.length);
  for (let i = 0; i < data.length; i++) data[i] = CANVAS[i % 3];
  for (let row = 0; row < height; row++) {
    const from = 3 * row * width;
    data.set(small.data.subarray(from, from + 3 * width), 3 * ((y + row) * image.width + x));
  }
  return { data, width: image.width, height: image.height };
}

/** Factor 1 leaves the image unchanged. Factor 0 results in a black, a uniformly grey or a greyscale image. */
export interface ColourFactors {
  brightness: number;
  contrast: number;
  saturation: number;
}

/** Adjusts brightness, then contrast, then saturation. Bit-identical to Pillow's ImageEnhance. */
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

/** Blends as Pillow does: in float32, clamped and truncated to a whole level. */
function blend(from: number, to: number, factor: number): number {
  const level = Math.fround(from + Math.fround(Math.fround(factor) * (to - from)));
  return Math.trunc(Math.min(Math.max(level, 0), 255));
}

/** ITU-R 601-2 luma in 16-bit fixed point, Pillow's conversion to grey. */
const grey = (data: Uint8Array, i: number): number =>
  (data[i] * 19595 + data[i + 1] * 38470 + data[i + 2] * 7471 + 0x8000) >> 16;

function meanGrey(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 3) sum += grey(data, i);
  return Math.trunc(sum / (data.length / 3) + 0.5);
}
