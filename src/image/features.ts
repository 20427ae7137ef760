import type * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import { type ExifOrientation, uprightBox } from '../geometry/orientation.ts';
import type { ImageSize } from '../geometry/types.ts';
import { promptOf, type TaskArguments } from '../text/prompt.ts';
import type { RawImage } from './types.ts';

/** An encoded image. It can be reused for any number of tasks: encoding is most of the work of an answer. */
export class ImageFeatures {
  /**
   * @param encoded [1, 1 + N, D]: the mean token, then the N positions of DaViT's last map
   * @param imageSize size of the image as it was encoded
   * @param orientation EXIF orientation that was applied before; 1 for an image that was encoded as stored
   * @param imageHash see `imageHash`; undefined if it was not computed
   */
  constructor(
    private readonly encoded: tf.Tensor3D,
    readonly imageSize: ImageSize,
    readonly orientation: ExifOrientation = 1,
    readonly imageHash?: string,
  ) {}

  /** The features [1, 1 + N, D]. @throws UsageError after `dispose` */
  get tensor(): tf.Tensor3D {
    if (!this.encoded.isDisposed) return this.encoded;
    throw new UsageError('The image features have been disposed: encode the image again.', { code: 'DISPOSED' });
  }

  /** Frees the tensor. */
  dispose(): void {
    this.encoded.dispose();
  }
}

/** Returns the SHA-256 of an image's RGB bytes, row by row, in hexadecimal digits; undefined where browsers have none. */
export async function imageHash({ data }: RawImage): Promise<string | undefined> {
  if (!globalThis.crypto?.subtle) return undefined; // on pages that were not loaded over HTTPS
  const digest = await crypto.subtle.digest('SHA-256', data as Uint8Array<ArrayBuffer>);
  return [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, '0')).join('');
}

/** Returns the prompt of a task about an encoded image. Its box is in pixels of the stored image. */
export function promptAbout(
  { imageSize, orientation }: Pick<ImageFeatures, 'imageSize' | 'orientation'>,
  { task, text, box }: TaskArguments & { task: string },
): string {
  return promptOf(task, { text, box: box && uprightBox(box, imageSize, orientation) }, imageSize);
}
