import { Florence2Error } from '../errors.ts';
import type { ExifOrientation } from '../geometry/orientation.ts';
import type { ImageSize } from '../geometry/types.ts';
import { checkOptions } from '../options.ts';
import { exifOrientation } from '../platform/exif.ts';
import { codec } from '../platform/node.ts';
import { tiffPixels, unsupportedTiff } from '../platform/tiff.ts';
import { decodeBmp } from './bmp.ts';
import { imageFormat } from './format.ts';
import { decodeGif } from './gif.ts';
import { turnedWarning, uprightImage } from './orientation.ts';
import { checkRawImage, checkSize, readBytes } from './source.ts';
import {
  DECODE_OPTIONS,
  DEFAULT_MAX_PIXELS,
  type DecodeOptions,
  type ImageInput,
  isRawImage,
  type RawImage,
} from './types.ts';

/**
 * Decodes an image to RGB like Pillow's `Image.open(file).convert('RGB')`: PNG, JPEG, WebP, GIF and TIFF (first frame or
 * page), AVIF and BMP. Alpha is dropped, not composited; colour profiles are ignored; 16-bit grey is clipped to 255, and
 * other 16-bit images keep their high byte; CMYK and YCbCr are converted by Pillow's formulas. JPEG and AVIF decoders
 * differ by a few levels: for AVIF by 1 without chroma subsampling, by up to 5 with it (4:2:0). The EXIF orientation is applied on
 * request, always for TIFF (as in Pillow) and for AVIF (by its specification). In browsers strings are URLs, and the
 * browser's decoders replace sharp (see platform/canvas_codec.ts).
 *
 * @throws Florence2Error, naming the file, if it is missing, empty, truncated, too large or not an image;
 *   UsageError if raw pixels do not fit their size
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<RawImage> {
  checkOptions('decodeImage', options, DECODE_OPTIONS);
  const { image, exif } = await decodeStored(input, options);
  return options.orientation === 'apply' ? uprightImage(image, exif) : image;
}

/**
 * Decodes an image as the model reads it, and returns the EXIF orientation that was applied (1 if none). Warns of an
 * image that is stored turned if the options do not say how to read it.
 */
export async function decodeForModel(
  input: ImageInput,
  options: DecodeOptions,
): Promise<{ image: RawImage; turned: ExifOrientation }> {
  checkOptions('decodeImage', options, DECODE_OPTIONS);
  const { image, exif, name } = await decodeStored(input, options);
  if (options.orientation === 'apply') return { image: uprightImage(image, exif), turned: exif };
  if (options.orientation === undefined && exif !== 1) console.warn(turnedWarning(name, exif));
  return { image, turned: 1 };
}

/** Returns the pixels of an image as stored, its EXIF orientation (1 for pixels, TIFF and AVIF), and its name. */
async function decodeStored(
  input: ImageInput,
  { maxPixels = DEFAULT_MAX_PIXELS }: Pick<DecodeOptions, 'maxPixels'> = {},
): Promise<{ image: RawImage; exif: ExifOrientation; name: string }> {
  if (isRawImage(input)) return { image: checkRawImage(input), exif: 1, name: 'The image' };
  const { bytes, name } = await readBytes(input);
  const format = imageFormat(bytes, name);
  const check = (width: number, height: number) => checkSize(name, width, height, maxPixels);
  const unsupported = format === 'TIFF' && unsupportedTiff(tiffPixels(bytes));
  if (unsupported) {
    throw new Florence2Error(
      `${name} is a TIFF image with ${unsupported}, unsupported: save it as PNG, or with LZW compression.`,
      { code: 'INVALID_IMAGE' },
    );
  }
  const exif = ['JPEG', 'PNG', 'WebP'].includes(format) ? exifOrientation(bytes) : 1;
  try {
    if (format === 'BMP') return { image: decodeBmp(bytes, check), exif, name };
    if (format === 'GIF') return { image: decodeGif(bytes, check), exif, name };
    return { image: await codec.decode(bytes, { format, checkSize: check }), exif, name };
  } catch (error) {
    if (error instanceof Florence2Error) throw error;
    throw new Florence2Error(`${name} is a damaged or truncated ${format} image${detail(error)}.`, {
      code: 'INVALID_IMAGE',
      cause: error,
    });
  }
}

/**
 * Returns the size of the image as `decodeImage` decodes it. Only the header is read if it determines this size.
 *
 * @throws Florence2Error, naming the file, if it cannot be decoded
 */
export async function readImageSize(path: string): Promise<ImageSize> {
  const { width, height } = await readImageHeader(path);
  return { width, height };
}

/**
 * Returns the size of an image as `decodeImage` decodes it, and its EXIF orientation (1 for TIFF and AVIF). Only the
 * header is read if it determines both.
 *
 * @throws Florence2Error, naming the file, if it cannot be decoded
 */
export async function readImageHeader(input: string | Uint8Array): Promise<ImageSize & { exif: ExifOrientation }> {
  const header = await codec.readHeader(input);
  if (header) return header;
  const { image, exif } = await decodeStored(input);
  return { width: image.width, height: image.height, exif };
}

/** The decoder's message in parentheses: its first line, without sharp's prefix. */
function detail(error: unknown): string {
  const line = (error instanceof Error ? error.message : String(error)).trim().split('\n')[0]!;
  const message = line.replace(/^Input buffer has corrupt header:\s*/, '');
  return message === '' ? '' : ` (${message})`;
}
