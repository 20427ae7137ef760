import { Florence2Error } from '../errors.ts';
import type { ImageSize } from '../geometry/types.ts';
import { codec } from '../platform/node.ts';
import { decodeBmp } from './bmp.ts';
import { imageFormat } from './format.ts';
import { decodeGif } from './gif.ts';
import { checkRawImage, checkSize, readBytes } from './source.ts';
import { DEFAULT_MAX_PIXELS, type DecodeOptions, type ImageInput, isRawImage, type RawImage } from './types.ts';

/**
 * Decodes an image to RGB like Pillow's `Image.open(file).convert('RGB')`: PNG, JPEG, WebP, GIF and TIFF (first frame or
 * page), AVIF and BMP. Alpha is dropped, not composited; colour profiles are ignored; 16-bit grey is clipped to 255, and
 * other 16-bit images keep their high byte; CMYK is converted by Pillow's formula. The EXIF orientation is applied on
 * request, always for TIFF (as in Pillow) and for AVIF (by its specification). In browsers strings are URLs, and the
 * browser's decoders replace sharp (see platform/canvas_codec.ts).
 *
 * @throws Florence2Error, naming the file, if it is missing, empty, truncated, too large or not an image;
 *   UsageError if raw pixels do not fit their size
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<RawImage> {
  if (isRawImage(input)) return checkRawImage(input);
  const { bytes, name } = await readBytes(input);
  const { maxPixels = DEFAULT_MAX_PIXELS, applyOrientation = false } = options;
  const format = imageFormat(bytes, name);
  const check = (width: number, height: number) => checkSize(name, width, height, maxPixels);
  try {
    if (format === 'BMP') return decodeBmp(bytes, check);
    if (format === 'GIF') return decodeGif(bytes, check);
    return await codec.decode(bytes, { format, checkSize: check, applyOrientation });
  } catch (error) {
    if (error instanceof Florence2Error) throw error;
    throw new Florence2Error(`${name} is a damaged or truncated ${format} image${detail(error)}.`);
  }
}

/**
 * Returns the size of the image as `decodeImage` decodes it. Only the header is read if it determines this size.
 *
 * @throws Florence2Error, naming the file, if it cannot be decoded
 */
export async function readImageSize(path: string): Promise<ImageSize> {
  const { width, height } = (await codec.readSize(path)) ?? (await decodeImage(path));
  return { width, height };
}

/** The decoder's message in parentheses: its first line, without sharp's prefix. */
function detail(error: unknown): string {
  const line = (error instanceof Error ? error.message : String(error)).trim().split('\n')[0]!;
  const message = line.replace(/^Input buffer has corrupt header:\s*/, '');
  return message === '' ? '' : ` (${message})`;
}
