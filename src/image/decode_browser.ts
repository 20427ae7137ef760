import { Florence2Error } from '../errors.ts';
import { decodeBmp } from './bmp.ts';
import { withoutExif } from './exif.ts';
import { imageFormat } from './format.ts';
import { decodeGif } from './gif.ts';
import { checkRawImage, checkSize, readBytes } from './source.ts';
import { type DecodeOptions, defaultMaxPixels, type ImageInput, isRawImage, type RawImage } from './types.ts';

/**
 * Decodes an image to RGB in a browser, with the signature of decode.ts; strings are URLs there. Opaque 8-bit images
 * have the pixels that Node gives. A canvas multiplies colours with alpha, scales 16-bit grey and has its own rounding
 * for CMYK, so those differ from the reference: give RGB pixels where that matters. No browser but Safari reads TIFF.
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<RawImage> {
  if (isRawImage(input)) return checkRawImage(input);
  const { bytes, name } = await readBytes(input);
  const { maxPixels = defaultMaxPixels, applyOrientation = false } = options;
  const format = imageFormat(bytes, name);
  const check = (width: number, height: number) => checkSize(name, width, height, maxPixels);
  let bitmap: ImageBitmap;
  try {
    if (format === 'BMP') return decodeBmp(bytes, check);
    if (format === 'GIF') return decodeGif(bytes, check);
    const asStored = (format === 'JPEG' || format === 'PNG') && !applyOrientation;
    const blob = new Blob((asStored ? withoutExif(bytes) : [bytes]) as BlobPart[]);
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  } catch (error) {
    if (error instanceof Florence2Error) throw error;
    throw new Florence2Error(`${name} could not be decoded as ${format} (${(error as Error).message}).`);
  }
  try {
    check(bitmap.width, bitmap.height);
    return { data: readPixels(bitmap), width: bitmap.width, height: bitmap.height };
  } finally {
    bitmap.close();
  }
}

function readPixels(bitmap: ImageBitmap): Uint8Array {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (context === null) throw new Florence2Error(`The browser has no canvas of ${width} x ${height} pixels.`);
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from]!;
    rgb[to++] = rgba[from + 1]!;
    rgb[to++] = rgba[from + 2]!;
  }
  return rgb;
}
