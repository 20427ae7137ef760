import { Florence2Error } from '../errors.ts';
import { decodeBmp } from './bmp.ts';
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

/**
 * The parts of a JPEG or PNG file without its EXIF data. Browsers turn a picture as its EXIF orientation says and
 * have no option left against it (createImageBitmap's 'none' has come to mean 'from-image').
 */
export function withoutExif(bytes: Uint8Array): Uint8Array[] {
  const [from, next, isExif] = bytes[0] === 0xff ? jpegSegments : pngChunks;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [bytes.subarray(0, from)];
  let at = from;
  while (at + 12 <= bytes.length) {
    const end = next(view, at);
    if (end === undefined) break;
    if (!isExif(view, at)) parts.push(bytes.subarray(at, end));
    at = end;
  }
  return [...parts, bytes.subarray(at)];
}

type Walk = [
  start: number,
  next: (file: DataView, at: number) => number | undefined,
  isExif: (file: DataView, at: number) => boolean,
];

/** Marker (2 bytes), length from itself on (2), data. APP1 that begins with "Exif" goes; the scan ends the walk. */
const jpegSegments: Walk = [
  2,
  (file, at) => {
    const marker = file.getUint16(at);
    return marker > 0xffbf && marker !== 0xffda ? at + 2 + file.getUint16(at + 2) : undefined;
  },
  (file, at) => file.getUint16(at) === 0xffe1 && file.getUint32(at + 4) === 0x45786966,
];

/** Length of the data (4 bytes), type (4), data, checksum (4). The chunk "eXIf" goes. */
const pngChunks: Walk = [
  8,
  (file, at) => at + 12 + file.getUint32(at),
  (file, at) => file.getUint32(at + 4) === 0x65584966,
];
