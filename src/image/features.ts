import type * as tf from '@tensorflow/tfjs';
import { type ExifOrientation, uprightBox } from '../geometry/orientation.ts';
import type { ImageSize } from '../geometry/types.ts';
import { promptOf, type TaskArguments } from '../text/prompt.ts';

/** An encoded image. It can be reused for any number of tasks: encoding is most of the work of an answer. */
export class ImageFeatures {
  /**
   * @param tensor [1, 1 + N, D]: the mean token, then the N positions of DaViT's last map
   * @param imageSize size of the image as it was encoded
   * @param orientation EXIF orientation that was applied before; 1 for an image that was encoded as stored
   */
  constructor(
    readonly tensor: tf.Tensor3D,
    readonly imageSize: ImageSize,
    readonly orientation: ExifOrientation = 1,
  ) {}

  /** Frees the tensor. */
  dispose(): void {
    this.tensor.dispose();
  }
}

/** Returns the prompt of a task about an encoded image. Its box is in pixels of the stored image. */
export function promptAbout(
  { imageSize, orientation }: Pick<ImageFeatures, 'imageSize' | 'orientation'>,
  { task, text, box }: TaskArguments & { task: string },
): string {
  return promptOf(task, { text, box: box && uprightBox(box, imageSize, orientation) }, imageSize);
}
