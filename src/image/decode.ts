import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Metadata, Sharp, SharpOptions } from 'sharp';
import { Florence2Error } from '../errors.ts';
import { decodeBmp } from './bmp.ts';
import { type ImageFormat, imageFormat } from './format.ts';
import { decodeGif } from './gif.ts';
import { checkRawImage, checkSize, readBytes, type Source } from './source.ts';
import { type DecodeOptions, defaultMaxPixels, type ImageInput, isRawImage, type RawImage } from './types.ts';

/**
 * Decodes an image to RGB as `Image.open(file).convert('RGB')` of Pillow does: PNG, JPEG, WebP, GIF and TIFF (first
 * frame or page), AVIF and BMP. Alpha is dropped, not composited; colour profiles are ignored; 16-bit grey is clipped
 * to 255 (other 16-bit images keep their high byte); CMYK is converted by Pillow's formula; the EXIF orientation is
 * not applied unless asked for. (It always is for TIFF, as in Pillow, and AVIF, whose format demands it.)
 *
 * Throws Florence2Error, naming the file, for what is missing, empty, cut off, too large or not an image.
 */
export async function decodeImage(input: ImageInput, options: DecodeOptions = {}): Promise<RawImage> {
  if (isRawImage(input)) return checkRawImage(input);
  const { bytes, name } = isPath(input) ? await readImageFile(input) : await readBytes(input);
  const { maxPixels = defaultMaxPixels, applyOrientation = false } = options;
  const format = imageFormat(bytes, name);
  try {
    const check = (width: number, height: number) => checkSize(name, width, height, maxPixels);
    if (format === 'BMP') return decodeBmp(bytes, check); // sharp reads none
    if (format === 'GIF') return decodeGif(bytes, check);
    return await decodeWithSharp(bytes, format, check, applyOrientation);
  } catch (error) {
    if (error instanceof Florence2Error) throw error;
    throw new Florence2Error(`${name} is a damaged ${format} image, or only a part of one${detail(error)}.`);
  }
}

/** What the decoder said, in brackets: the first line, without sharp's own words before it. */
function detail(error: unknown): string {
  const line = (error instanceof Error ? error.message : String(error)).trim().split('\n')[0]!;
  const said = line.replace(/^Input buffer has corrupt header:\s*/, '');
  return said === '' ? '' : ` (${said})`;
}

const isPath = (input: unknown): input is string | URL =>
  input instanceof URL ? input.protocol === 'file:' : typeof input === 'string' && !/^(https?|data|blob):/i.test(input);

async function readImageFile(input: string | URL): Promise<Source> {
  let name = String(input);
  try {
    if (/^file:/i.test(name)) name = fileURLToPath(input);
    return { bytes: await readFile(name), name };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new Florence2Error(`${name} does not exist.`);
    if (code === 'EISDIR') throw new Florence2Error(`${name} is a folder: expected an image file.`);
    if (code === 'EACCES' || code === 'EPERM') throw new Florence2Error(`${name} may not be read: no permission.`);
    throw new Florence2Error(`${name} could not be read: ${message}.`);
  }
}

async function decodeWithSharp(
  bytes: Uint8Array,
  format: ImageFormat,
  check: (width: number, height: number) => void,
  applyOrientation: boolean,
): Promise<RawImage> {
  const sharp = await loadSharp();
  const tiff = format === 'TIFF';
  const options: SharpOptions = {
    // Pillow refuses a file that ends early, and shrugs at the flaws that decoders only warn of.
    failOn: tiff ? 'error' : 'truncated',
    ignoreIcc: true,
    limitInputPixels: false,
    autoOrient: applyOrientation || tiff, // Pillow turns TIFF, and TIFF alone, when it opens it
  };
  const metadata = await sharp(bytes, options).metadata();
  check(metadata.width, metadata.height);
  const image = sharp(bytes, options);
  const { data, info } = await toPillowMode(image, metadata).raw().toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  if (channels === 3) return { data, width, height };
  return { data: channels === 4 ? cmykToRgb(data) : greyToRgb(data), width, height };
}

/** sharp's own conversions differ from Pillow's for 16-bit grey and CMYK: those are taken as they are stored. */
function toPillowMode(image: Sharp, { space, channels }: Metadata): Sharp {
  if (space === 'grey16' && channels === 1) return image.pipelineColourspace('grey16').toColourspace('grey16'); // clips
  if (space === 'cmyk') return image.pipelineColourspace('cmyk').toColourspace('cmyk');
  return image.removeAlpha().toColourspace('srgb');
}

function greyToRgb(grey: Uint8Array): Uint8Array {
  const rgb = new Uint8Array(grey.length * 3);
  for (let i = 0; i < grey.length; i++) rgb.fill(grey[i]!, 3 * i, 3 * i + 3);
  return rgb;
}

/** Pillow's conversion: out = k - k * ink / 255 with k = 255 - black, the product rounded in 8 bit arithmetic. */
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
    throw new Florence2Error(`The package sharp, which decodes images, could not be loaded: ${why}.`);
  }
}
