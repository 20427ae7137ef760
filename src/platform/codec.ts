import type { ExifOrientation } from '../geometry/orientation.ts';

/** RGB pixels, 8 bits per channel, rows from the top: `data[(y * width + x) * 3 + channel]`. */
export interface DecodedImage {
  data: Uint8Array; // [height, width, 3]
  width: number;
  height: number;
}

/** How an image file is decoded. */
export interface CodecOptions {
  /** Format of the bytes, for messages and format-specific rules: `PNG`, `JPEG`, `WebP`, `TIFF` or `AVIF`. */
  format: string;
  /** Called with the size before pixels are allocated; throws if the image is too large. */
  checkSize: (width: number, height: number) => void;
}

/** Decodes the image formats that the platform supports (BMP and GIF are decoded in `image/`), and encodes previews. */
export interface Codec {
  /**
   * Decodes an image file to the pixels as stored; the orientation is applied for TIFF (as in Pillow) and AVIF (by its
   * specification). Errors are the decoder's own; callers add the file's name.
   */
  decode(bytes: Uint8Array, options: CodecOptions): Promise<DecodedImage>;
  /**
   * Encodes pixels for a page: PNG if they have at most 256×256 pixels, else a JPEG no longer than `longestSide`
   * pixels.
   */
  encodePreview(image: DecodedImage, longestSide: number): Promise<{ bytes: Uint8Array; type: string }>;
  /** Reads the stored size and the EXIF orientation from a file's header; undefined if only decoding determines them. */
  readHeader(image: string | Uint8Array): Promise<{ width: number; height: number; exif: ExifOrientation } | undefined>;
}

/** Images of at most this many pixels keep all of their pixels in a preview. */
export const SMALL_PREVIEW = 256 * 256;
