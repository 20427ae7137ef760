import { count, type OptionTable, oneOf } from '../options.ts';

/** Decoded pixels: RGB, 8 bits, rows from the top, without padding: `data[(y * width + x) * 3 + channel]`. */
export interface RawImage {
  data: Uint8Array; // [height, width, 3]
  width: number;
  height: number;
}

/** An image: a path, an http(s), file or data URL, the bytes of an image file, or pixels. */
export type ImageInput = string | URL | Blob | Uint8Array | RawImage;

/** Options of `decodeImage`. */
export interface DecodeOptions {
  /**
   * Whether the pixels are read as stored, as the reference reads them, or turned upright by the EXIF orientation of a
   * JPEG, PNG or WebP file. Results are in pixels of the stored image either way. Default `stored`; then the model warns
   * of a file that says that it is stored turned.
   */
  orientation?: 'stored' | 'apply';
  /** Largest number of pixels; larger images are an error before they are decoded. Default 178,956,970. */
  maxPixels?: number;
}

/** The kinds of the decode options. */
export const DECODE_OPTIONS: OptionTable<DecodeOptions> = { orientation: oneOf('stored', 'apply'), maxPixels: count };

/** The number of pixels from which Pillow raises its decompression bomb error, about 13,000 x 13,000. */
export const DEFAULT_MAX_PIXELS = 178_956_970;

/** Whether an input is decoded pixels. */
export function isRawImage(input: unknown): input is RawImage {
  const raw = input as Partial<RawImage> | null;
  return typeof raw === 'object' && raw !== null && 'data' in raw && 'width' in raw && 'height' in raw;
}
