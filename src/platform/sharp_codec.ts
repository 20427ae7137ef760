import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { Metadata, Sharp, SharpOptions } from 'sharp';
import { Florence2Error } from '../errors.ts';
import { type Codec, type CodecOptions, type DecodedImage, SMALL_PREVIEW } from './codec.ts';
import { exifOrientation, headerSize } from './exif.ts';
import { isRawYcbcr, tiffPixels, ycbcrToRgb } from './tiff.ts';

/** Decodes with sharp, to the pixels that Pillow's `convert('RGB')` returns. */
export const sharpCodec: Codec = { decode, encodePreview, readHeader };

async function decode(bytes: Uint8Array, { format, checkSize }: CodecOptions): Promise<DecodedImage> {
  const sharp = await loadSharp();
  const tiff = format === 'TIFF';
  const options: SharpOptions = {
    failOn: tiff ? 'error' : 'truncated', // like Pillow: truncated files fail, decoder warnings do not
    ignoreIcc: true,
    limitInputPixels: false,
    autoOrient: tiff, // Pillow applies the orientation of TIFF files, and only of those
  };
  const metadata = await sharp(bytes, options).metadata();
  checkSize(metadata.width, metadata.height);
  const image = sharp(bytes, options);
  // Pillow reads a PNG with 16-bit grey and a transparent level as grey, and one with an alpha channel as 8-bit colour.
  const grey16 = metadata.space === 'grey16' && (metadata.channels === 1 || (format === 'PNG' && bytes[25] === 0));
  const { data, info } = await toPillowMode(image, metadata, grey16).raw().toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (tiff && isRawYcbcr(tiffPixels(bytes))) ycbcrToRgb(data);
  if (channels === 3) return { data, width, height };
  return { data: channels === 4 ? cmykToRgb(data) : greyToRgb(data), width, height };
}

async function encodePreview({ data, width, height }: DecodedImage, longestSide: number) {
  const sharp = await loadSharp();
  const image = sharp(data, { raw: { width, height, channels: 3 }, limitInputPixels: false });
  if (width * height <= SMALL_PREVIEW) return { bytes: await image.png().toBuffer(), type: 'image/png' };
  const size = { width: longestSide, height: longestSide, fit: 'inside', withoutEnlargement: true } as const;
  return { bytes: await image.resize(size).jpeg({ quality: 86 }).toBuffer(), type: 'image/jpeg' };
}

/**
 * PNG, JPEG and WebP headers contain the decoded size; for other formats orientation or pages may change it. sharp leaves
 * 3 kB for each image in memory until a full garbage collection, so most JPEG and PNG files are read without it.
 */
async function readHeader(image: string | Uint8Array): ReturnType<Codec['readHeader']> {
  try {
    const start = typeof image === 'string' ? firstBytes(image, 1 << 14) : image;
    const size = headerSize(start);
    // PNG files may have their orientation after the pixels.
    if (size && size.width * size.height > 0 && (start[0] === 0xff || start.length < 1 << 14)) {
      return { ...size, exif: exifOrientation(start) };
    }
    const sharp = await loadSharp();
    const bytes = typeof image === 'string' ? firstBytes(image, 1 << 18) : image;
    const { format, width, height } = await sharp(bytes).metadata();
    return ['png', 'jpeg', 'webp'].includes(format) ? { width, height, exif: exifOrientation(bytes) } : undefined;
  } catch {
    return undefined; // decoding reports what is wrong with the file, or reads a header that is longer
  }
}

/** Reads the first bytes of a file. Promises of `fs` take three times as long, and stay in memory like sharp's objects. */
function firstBytes(path: string, length: number): Uint8Array {
  const found = statSync(path);
  if (!found.isFile()) throw new Error(); // decoding reports it
  const bytes = new Uint8Array(Math.min(length, found.size));
  const file = openSync(path, 'r');
  try {
    return bytes.subarray(0, readSync(file, bytes));
  } finally {
    closeSync(file);
  }
}

/** sharp converts 16-bit grey and CMYK differently from Pillow, so both are read unconverted. */
function toPillowMode(image: Sharp, { space }: Metadata, grey16: boolean): Sharp {
  if (grey16) return image.removeAlpha().pipelineColourspace('grey16').toColourspace('grey16'); // clips
  if (space === 'cmyk') return image.pipelineColourspace('cmyk').toColourspace('cmyk');
  return image.removeAlpha().toColourspace('srgb');
}

function greyToRgb(grey: Uint8Array): Uint8Array {
  const rgb = new Uint8Array(grey.length * 3);
  for (let i = 0; i < grey.length; i++) rgb.fill(grey[i]!, 3 * i, 3 * i + 3);
  return rgb;
}

/** Pillow's conversion: out = k - k * ink / 255 with k = 255 - black, the product rounded in 8-bit arithmetic. */
function cmykToRgb(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const k = 255 - cmyk[from + 3]!;
    for (let c = 0; c < 3; c++) {
      const t = cmyk[from + c]! * k + 128;
      rgb[to++] = k - (((t >> 8) + t) >> 8);
    }
  }
  return rgb;
}

async function loadSharp(): Promise<typeof import('sharp').default> {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    const why = error instanceof Error ? error.message.trim().split('\n')[0] : String(error);
    throw new Florence2Error(`Loading sharp, the package that decodes images, failed: ${why}.`, { cause: error });
  }
}
