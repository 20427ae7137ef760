import { resizeBicubic } from '../../image/resize.ts';
import type { RawImage } from '../../image/types.ts';

/** Left and right exchanged. */
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

/** The part of an image from pixel (x, y) on. */
export function cropImage(image: RawImage, x: number, y: number, width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const from = 3 * ((y + row) * image.width + x);
    data.set(image.data.subarray(from, from + 3 * width), 3 * row * width);
  }
  return { data, width, height };
}

/** The mean of ImageNet's pixels, which normalisation makes 0. */
const CANVAS = [124, 116, 104];

/** The image resized to width × height, at pixel (x, y) of a plain canvas of its own size. */
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
