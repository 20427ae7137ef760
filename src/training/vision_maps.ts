import * as tf from '@tensorflow/tfjs';
import type { PreprocessorConfig } from '../config/preprocessor.ts';
import type { Florence2 } from '../florence2.ts';
import { noHooks } from '../hooks/hooks.ts';
import { preprocess, toTensor } from '../image/preprocess.ts';
import type { MapCache } from './map_cache.ts';
import type { StepImage } from './step_images.ts';

/** Returns the normalised pixels of images, [I, H, W, 3]. The caller disposes them. */
export function pixelBatch(images: readonly StepImage[], preprocessor: PreprocessorConfig): tf.Tensor4D {
  return toTensor(
    preprocess(
      images.map(({ pixels }) => pixels!),
      preprocessor,
    ),
  );
}

/**
 * Returns the feature maps of images from a frozen vision tower, [I, H/32, W/32, C]. Reads them from the cache, or
 * computes and caches them. The caller disposes the result.
 */
export async function frozenMaps(
  florence: Florence2,
  images: readonly StepImage[],
  cache: MapCache,
): Promise<tf.Tensor4D> {
  const { preprocessor, model } = florence;
  const maps = new Map<string, tf.Tensor3D>(); // by key: a batch may contain an image twice
  try {
    const missing = [...new Map(images.filter(({ key }) => !cache.has(key)).map(image => [image.key, image])).values()];
    const { height, width } = preprocessor;
    const perPass = Math.min(missing.length, model.executor.imagesPerPass(height, width, noHooks));
    for (let i = 0; i < missing.length; i += perPass) {
      const batch = missing.slice(i, i + perPass);
      const computed = florence.tidy(() => {
        return tf.unstack(model.executor.visionMap(pixelBatch(batch, preprocessor), noHooks)) as tf.Tensor3D[];
      });
      for (const [j, map] of computed.entries()) maps.set(batch[j].key, map);
    }
    for (const [key, map] of maps) await cache.write(key, map);
    for (const { key } of images) if (!maps.has(key)) maps.set(key, await cache.read(key));
    return florence.tidy(() => tf.stack(images.map(({ key }) => maps.get(key)!)) as tf.Tensor4D);
  } finally {
    tf.dispose([...maps.values()]);
  }
}
