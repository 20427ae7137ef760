import * as tf from '@tensorflow/tfjs';
import type { PreprocessorConfig } from '../config.ts';
import { preprocess, toTensor } from '../image/preprocess.ts';
import { noHooks } from '../internals/hooks.ts';
import type { Florence2Model } from '../model.ts';
import type { FeatureCache } from './feature_cache.ts';
import type { StepImage } from './step_images.ts';

/** Normalised pixels of these images, [I, H, W, 3]. The caller disposes them. */
export function pixelBatch(images: readonly StepImage[], preprocessor: PreprocessorConfig): tf.Tensor4D {
  return toTensor(
    preprocess(
      images.map(({ pixels }) => pixels!),
      preprocessor,
    ),
  );
}

/**
 * The last maps of a vision tower that is not trained, [I, H/32, W/32, C]: from the cache where they are there, and put
 * there where they are not. The caller disposes them.
 */
export async function frozenMaps(
  model: Florence2Model,
  images: readonly StepImage[],
  preprocessor: PreprocessorConfig,
  cache: FeatureCache,
): Promise<tf.Tensor4D> {
  const maps = await Promise.all(images.map(({ key }) => (cache.has(key) ? cache.read(key) : null)));
  const missing = images.filter((_, i) => maps[i] === null);
  if (missing.length > 0) {
    const computed = tf.tidy(() => {
      const pixels = pixelBatch(missing, preprocessor);
      return tf.unstack(model.visionTower.forward(pixels, noHooks)) as tf.Tensor3D[];
    });
    for (const [i, map] of computed.entries()) {
      await cache.write(missing[i].key, map);
      maps[images.indexOf(missing[i])] = map;
    }
  }
  try {
    return tf.stack(maps as tf.Tensor3D[]) as tf.Tensor4D;
  } finally {
    tf.dispose(maps as tf.Tensor3D[]);
  }
}
