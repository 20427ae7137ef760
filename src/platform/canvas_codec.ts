import { Florence2Error } from '../errors.ts';
import { type Codec, type CodecOptions, type DecodedImage, SMALL_PREVIEW } from './codec.ts';
import { withoutExif } from './exif.ts';

/**
 * Decodes with the browser. Opaque 8-bit images have the same pixels as in Node. A canvas premultiplies alpha, rescales
 * 16-bit grey and rounds CMYK differently, so those differ from the reference. Only Safari reads TIFF.
 */
export const canvasCodec: Codec = { decode, encodePreview, readHeader: async () => undefined };

/**
 * Browsers always apply the EXIF orientation (createImageBitmap's option 'none' now means 'from-image'), so EXIF data is
 * removed first.
 */
async function decode(bytes: Uint8Array, { format, checkSize }: CodecOptions): Promise<DecodedImage> {
  const asStored = format === 'JPEG' || format === 'PNG';
  const blob = new Blob((asStored ? withoutExif(bytes) : [bytes]) as BlobPart[]);
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  try {
    checkSize(bitmap.width, bitmap.height);
    return { data: readPixels(bitmap), width: bitmap.width, height: bitmap.height };
  } finally {
    bitmap.close();
  }
}

async function encodePreview({ data, width, height }: DecodedImage, longestSide: number) {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) rgba.set(data.subarray(from, from + 3), to);
  const small = width * height <= SMALL_PREVIEW;
  const scale = small ? 1 : Math.min(1, longestSide / Math.max(width, height));
  const canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
  const context = canvas.getContext('2d');
  if (context === null) throw new Florence2Error(`The browser cannot create a canvas of ${width} x ${height} pixels.`);
  const bitmap = await createImageBitmap(new ImageData(rgba, width, height));
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const type = small ? 'image/png' : 'image/jpeg';
  const blob = await canvas.convertToBlob({ type, quality: 0.86 });
  return { bytes: new Uint8Array(await blob.arrayBuffer()), type };
}

function readPixels(bitmap: ImageBitmap): Uint8Array {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (context === null) throw new Florence2Error(`The browser cannot create a canvas of ${width} x ${height} pixels.`);
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
