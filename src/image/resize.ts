import type { RawImage } from './types.ts';

/** Keys' cubic kernel with a = -0.5 as in Pillow (OpenCV and PyTorch use -0.75); 0 for distances of 2 and more. */
function cubic(distance: number): number {
  const a = -0.5;
  const t = Math.abs(distance);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
}

/**
 * Resizes to width x height with results identical to `Image.resize(…, BICUBIC)` of Pillow 12. The kernel is widened
 * when shrinking, and its weights are fixed-point numbers with 22 fractional bits. The horizontal pass is first; each
 * pass is rounded and clipped to 8 bits. If the size is unchanged, the result shares the image's pixels.
 */
export function resizeBicubic(image: RawImage, width: number, height: number): RawImage {
  let { data } = image;
  if (width !== image.width) data = horizontal(data, image.width, image.height, width);
  if (height !== image.height) data = vertical(data, width, image.height, height);
  return { data, width, height };
}

const FRACTION_BITS = 22; // plus 8 bits of the pixel, the sign and one bit for overshoot: 32
const HALF = 1 << (FRACTION_BITS - 1);

interface Taps {
  first: Int32Array; // [size], first input pixel of each output pixel
  count: Int32Array; // [size], number of input pixels
  weights: Int32Array; // [size, stride]
  stride: number;
}

/** Computes the input pixels and weights of each output pixel. Weights are normalised in float64, then rounded. */
function makeTaps(inSize: number, outSize: number): Taps {
  const scale = inSize / outSize;
  const widen = Math.max(scale, 1);
  const support = 2 * widen;
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(outSize);
  const count = new Int32Array(outSize);
  const weights = new Int32Array(outSize * stride);
  const exact = new Float64Array(stride);
  for (let out = 0; out < outSize; out++) {
    const center = (out + 0.5) * scale;
    const from = Math.max(0, Math.trunc(center - support + 0.5));
    const to = Math.min(inSize, Math.trunc(center + support + 0.5));
    let sum = 0;
    for (let i = from; i < to; i++) sum += exact[i - from] = cubic((i - center + 0.5) * (1 / widen));
    for (let i = 0; i < to - from; i++) {
      const weight = (exact[i]! / sum) * (1 << FRACTION_BITS);
      weights[out * stride + i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
    first[out] = from;
    count[out] = to - from;
  }
  return { first, count, weights, stride };
}

const clip = (sum: number): number => {
  const level = sum >> FRACTION_BITS;
  return level < 0 ? 0 : Math.min(level, 255);
};

function horizontal(data: Uint8Array, inWidth: number, height: number, width: number): Uint8Array {
  const { first, count, weights, stride } = makeTaps(inWidth, width);
  const out = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    const row = y * inWidth * 3;
    for (let x = 0; x < width; x++) {
      let [r, g, b] = [HALF, HALF, HALF];
      let from = row + first[x]! * 3;
      const end = x * stride + count[x]!;
      for (let i = x * stride; i < end; i++) {
        const weight = weights[i]!;
        r += Math.imul(data[from]!, weight);
        g += Math.imul(data[from + 1]!, weight);
        b += Math.imul(data[from + 2]!, weight);
        from += 3;
      }
      out[to++] = clip(r);
      out[to++] = clip(g);
      out[to++] = clip(b);
    }
  }
  return out;
}

/** Sums weighted rows instead of columns, so that memory is read in order. */
function vertical(data: Uint8Array, width: number, inHeight: number, height: number): Uint8Array {
  const { first, count, weights, stride } = makeTaps(inHeight, height);
  const rowSize = width * 3;
  const out = new Uint8Array(rowSize * height);
  const sums = new Int32Array(rowSize);
  for (let y = 0; y < height; y++) {
    sums.fill(HALF);
    for (let i = 0; i < count[y]!; i++) {
      const weight = weights[y * stride + i]!;
      const row = (first[y]! + i) * rowSize;
      for (let x = 0; x < rowSize; x++) sums[x] = sums[x]! + Math.imul(data[row + x]!, weight);
    }
    const to = y * rowSize;
    for (let x = 0; x < rowSize; x++) out[to + x] = clip(sums[x]!);
  }
  return out;
}
