import type * as tf from '@tensorflow/tfjs';
import type { ImageSize } from '../geometry/types.ts';

/** One encoded image. The vision tower is most of the work, so encode once and ask as many tasks as you like. */
export class ImageFeatures {
  /**
   * @param tensor [1, 1 + N, D]: the mean token, then every position of DaViT's last map
   * @param imageSize of the original image, whose pixels results count in
   */
  constructor(
    readonly tensor: tf.Tensor3D,
    readonly imageSize: ImageSize,
  ) {}

  dispose(): void {
    this.tensor.dispose();
  }
}
