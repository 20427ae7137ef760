/** What the first directory of a TIFF file says about its pixels, as far as decoders disagree about it. */
export interface TiffPixels {
  compression: number;
  photometric: number;
  /** Pixels of luma for each pixel of chroma, horizontally and vertically. */
  subsampling: number[];
}

const [COMPRESSION, PHOTOMETRIC, SUBSAMPLING] = [259, 262, 530];
const [YCBCR, CIELAB] = [6, 8];
const [OLD_JPEG, JPEG] = [6, 7];

/** Reads those tags. Returns undefined for a file without a directory, which decoders report. */
export function tiffPixels(bytes: Uint8Array): TiffPixels | undefined {
  const tags = tiffTags(bytes);
  return (
    tags && {
      compression: tags.get(COMPRESSION)?.[0] ?? 1,
      photometric: tags.get(PHOTOMETRIC)?.[0] ?? 1,
      subsampling: tags.get(SUBSAMPLING) ?? [1, 1],
    }
  );
}

/**
 * Returns the values of the first directory of a TIFF file or of EXIF data: of each tag the first two shorts. Returns
 * undefined if the directory is not inside the file.
 */
export function tiffTags(bytes: Uint8Array): Map<number, number[]> | undefined {
  const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = bytes[0] === 0x49; // "II"
  const big = (little ? bytes[2] : bytes[3]) === 43; // BigTIFF: counts and offsets of 8 bytes
  const long = (at: number): number => (big ? Number(file.getBigUint64(at, little)) : file.getUint32(at, little));
  try {
    const start = long(big ? 8 : 4);
    const count = big ? long(start) : file.getUint16(start, little);
    const [first, size, valueAt] = big ? [start + 8, 20, 12] : [start + 2, 12, 8];
    const tags = new Map<number, number[]>();
    for (let entry = first; entry < first + count * size; entry += size) {
      const shorts = [0, 2].map(i => file.getUint16(entry + valueAt + i, little));
      tags.set(file.getUint16(entry, little), shorts);
    }
    return tags;
  } catch {
    return undefined;
  }
}

/** Compressions that sharp is built without. */
const UNSUPPORTED: Record<number, string> = {
  34712: 'JPEG 2000 compression',
  34887: 'LERC compression',
  34925: 'LZMA compression',
  50000: 'zstd compression',
  52546: 'JPEG XL compression',
};

/** Returns what is not supported about the pixels of a TIFF file; undefined if they can be decoded. */
export function unsupportedTiff(pixels: TiffPixels | undefined): string | undefined {
  if (!pixels) return undefined;
  if (pixels.photometric === CIELAB) return 'CIELAB colours';
  const subsampled = pixels.subsampling.some(factor => factor !== 1);
  if (isRawYcbcr(pixels) && subsampled) return 'subsampled YCbCr colours without JPEG compression';
  return UNSUPPORTED[pixels.compression];
}

/** Whether decoders return YCbCr: they convert it to RGB only if it is compressed as JPEG. */
export const isRawYcbcr = (pixels: TiffPixels | undefined): boolean =>
  pixels?.photometric === YCBCR && pixels.compression !== JPEG && pixels.compression !== OLD_JPEG;

/** Converts YCbCr pixels to RGB in place, with Pillow's fixed-point factors. */
export function ycbcrToRgb(data: Uint8Array): void {
  const products = (factor: number): number[] =>
    Array.from({ length: 256 }, (_, i) => Math.trunc(factor * 64 * (i - 128) + 0.5));
  const [redCr, greenCb, greenCr, blueCb] = [1.402, -0.34414, -0.71414, 1.772].map(products);
  const clipped = (value: number): number => Math.min(Math.max(value, 0), 255);
  for (let i = 0; i < data.length; i += 3) {
    const [y, cb, cr] = [data[i], data[i + 1], data[i + 2]];
    data[i] = clipped(y + (redCr[cr] >> 6));
    data[i + 1] = clipped(y + ((greenCb[cb] + greenCr[cr]) >> 6));
    data[i + 2] = clipped(y + (blueCb[cb] >> 6));
  }
}
