/** Pixels as Florence-2 sees them: RGB, 8 bit, rows from the top, no padding: `data[(y * width + x) * 3 + channel]`. */
export interface RawImage {
  data: Uint8Array; // [height, width, 3]
  width: number;
  height: number;
}

/** A path, an http(s), file or data URL, the bytes of an image file, or pixels. */
export type ImageInput = string | URL | Blob | Uint8Array | RawImage;

export interface DecodeOptions {
  /** Turn and mirror as the EXIF orientation says. Off by default: the reference works on the pixels as stored. */
  applyOrientation?: boolean;
  /** Refuse images of more pixels than this, before decoding them. Default `defaultMaxPixels`. */
  maxPixels?: number;
}

/** Pillow's limit against decompression bombs: the size from which it raises an error. About 13,000 x 13,000. */
export const defaultMaxPixels = 178_956_970;

export function isRawImage(input: unknown): input is RawImage {
  const raw = input as Partial<RawImage> | null;
  return typeof raw === 'object' && raw !== null && 'data' in raw && 'width' in raw && 'height' in raw;
}
