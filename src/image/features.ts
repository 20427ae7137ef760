import type * as tf from '@tensorflow/tfjs';
import type { ImageSize } from '../geometry/types.ts';

/** An encoded image. It can be reused for any number of tasks: encoding is most of the work of an answer. */
export class ImageFeatures {
  /**
   * @param tensor [1, 1 + N, D]: the mean token, then the N positions of DaViT's last map
   * @param imageSize size of the original image; results are in its pixels
   */
  constructor(
    readonly tensor: tf.Tensor3D,
    readonly imageSize: ImageSize,
  ) {}

  /** Frees the tensor. */
  dispose(): void {
    this.tensor.dispose();
  }
}
