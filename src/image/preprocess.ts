import * as tf from '@tensorflow/tfjs';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import { UsageError } from '../errors.ts';
import { resizeBicubic } from './resize.ts';
import { checkRawImage } from './source.ts';
import type { RawImage } from './types.ts';

/** Input of the vision tower. */
export interface PixelValues {
  data: Float32Array; // [B, H, W, 3]
  shape: [B: number, H: number, W: number, channels: 3];
}

/**
 * Returns the model's input for one or several images: each is resized to the size of the config without cropping,
 * padding or keeping the aspect ratio, rescaled to 0…1 and normalised per channel. Follows Microsoft's
 * processing_florence2.py, which returns channels first.
 *
 * @throws UsageError for an empty batch, or raw pixels that do not fit their size
 */
export function preprocess(images: RawImage | RawImage[], config: PreprocessorConfig): PixelValues {
  const batch = Array.isArray(images) ? images : [images];
  if (batch.length === 0) throw new UsageError('The batch is empty, expected at least one image.');
  const { width, height } = config;
  const levels = normalizedLevels(config);
  const size = height * width * 3;
  const data = new Float32Array(batch.length * size);
  batch.forEach((image, b) => {
    const pixels = resizeBicubic(checkRawImage(image), width, height).data; // [H, W, 3]
    for (let i = 0, to = b * size; i < size; i += 3, to += 3) {
      data[to] = levels[pixels[i]!]!;
      data[to + 1] = levels[256 + pixels[i + 1]!]!;
      data[to + 2] = levels[512 + pixels[i + 2]!]!;
    }
  });
  return { data, shape: [batch.length, height, width, 3] };
}

/** Returns pixel values as a tensor on the current backend, [B, H, W, 3]. The caller disposes it. */
export const toTensor = ({ data, shape }: PixelValues): tf.Tensor4D => tf.tensor4d(data, shape);

/** Returns the normalised value of each of the 256 levels per channel, [3, 256]. */
function normalizedLevels({ rescaleFactor, imageMean, imageStd }: PreprocessorConfig): Float32Array {
  const levels = new Float32Array(3 * 256);
  for (let i = 0; i < levels.length; i++) {
    const channel = i >> 8;
    levels[i] = ((i & 255) * rescaleFactor - imageMean[channel]!) / imageStd[channel]!;
  }
  return levels;
}
