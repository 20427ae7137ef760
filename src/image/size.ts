import type { ImageSize } from '../geometry/types.ts';
import { decodeImage } from './decode.ts';

/**
 * The size that `decodeImage` would give, from the header alone where that is sure to be the same (PNG, JPEG, WebP).
 * Throws Florence2Error, naming the file, for what cannot be decoded.
 */
export async function readImageSize(path: string): Promise<ImageSize> {
  try {
    const { default: sharp } = await import('sharp');
    const { format, width, height } = await sharp(path).metadata();
    if (['png', 'jpeg', 'webp'].includes(format)) return { width, height };
  } catch {
    // sharp does not read all formats, and the decoder knows to say what a file is.
  }
  const { width, height } = await decodeImage(path);
  return { width, height };
}
