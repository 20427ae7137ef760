import type { ExifOrientation } from '../geometry/orientation.ts';
import { tiffTags } from './tiff.ts';

const ORIENTATION = 274;

/** Returns the EXIF orientation of a JPEG, PNG or WebP file; 1 if it has none. */
export function exifOrientation(bytes: Uint8Array): ExifOrientation {
  for (const { from, to, isExif } of blocksOf(bytes).blocks) {
    if (!isExif) continue;
    const block = bytes.subarray(from, to);
    const start = block.findIndex((_, i) => i < 16 && isTiffHeader(block, i));
    const value = start < 0 ? undefined : tiffTags(block.subarray(start))?.get(ORIENTATION)?.[0];
    if (value !== undefined && value >= 1 && value <= 8) return value as ExifOrientation;
  }
  return 1;
}

/** Returns the parts of a JPEG or PNG file without its EXIF data. */
export function withoutExif(bytes: Uint8Array): Uint8Array[] {
  const { start, blocks } = blocksOf(bytes);
  const kept = blocks.filter(({ isExif }) => !isExif).map(({ from, to }) => bytes.subarray(from, to));
  return [bytes.subarray(0, start), ...kept, bytes.subarray(blocks.at(-1)?.to ?? start)];
}

/** Returns the size that the header of a JPEG or PNG file gives; undefined if the bytes end before, or are another file. */
export function headerSize(bytes: Uint8Array): { width: number; height: number } | undefined {
  const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length > 32 && file.getUint32(0) === 0x89504e47 && file.getUint32(12) === 0x49484452) {
    return { width: file.getUint32(16), height: file.getUint32(20) };
  }
  if (bytes.length < 4 || file.getUint16(0) !== 0xffd8) return undefined;
  for (const { from } of blocksOf(bytes).blocks) {
    const marker = file.getUint16(from);
    const isFrame = marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
    if (isFrame) return { height: file.getUint16(from + 5), width: file.getUint16(from + 7) };
  }
  return undefined;
}

/** A segment or chunk of a file. */
interface Block {
  from: number;
  to: number;
  isExif: boolean;
}

/** Returns the blocks of a file up to the first that is truncated or, in a JPEG file, to the scan data. */
function blocksOf(bytes: Uint8Array): { start: number; blocks: Block[] } {
  const [start, next, isExif] = bytes[0] === 0xff ? JPEG : bytes[0] === 0x52 ? WEBP : PNG;
  const file = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks: Block[] = [];
  let from = start;
  while (from + 12 <= bytes.length) {
    const to = next(file, from);
    if (to === undefined) break;
    blocks.push({ from, to, isExif: isExif(file, from) });
    from = to;
  }
  return { start: Math.min(start, bytes.length), blocks };
}

/** Where the first block begins, where the next one does, and whether a block is EXIF data. */
type Walk = [
  start: number,
  next: (file: DataView, at: number) => number | undefined,
  isExif: (file: DataView, at: number) => boolean,
];

/** Segment: marker (2 bytes), length including itself (2), data. EXIF is APP1 "Exif"; stops at the scan data. */
const JPEG: Walk = [
  2,
  (file, at) => {
    const marker = file.getUint16(at);
    return marker > 0xffbf && marker !== 0xffda ? at + 2 + file.getUint16(at + 2) : undefined;
  },
  (file, at) => file.getUint16(at) === 0xffe1 && file.getUint32(at + 4) === 0x45786966,
];

/** Chunk: data length (4 bytes), type (4), data, checksum (4). EXIF is "eXIf". */
const PNG: Walk = [8, (file, at) => at + 12 + file.getUint32(at), (file, at) => file.getUint32(at + 4) === 0x65584966];

/** Chunk: type (4 bytes), data length (4, little-endian), data padded to whole pairs of bytes. EXIF is "EXIF". */
const WEBP: Walk = [
  12,
  (file, at) => {
    const length = file.getUint32(at + 4, true);
    return at + 8 + length + (length % 2);
  },
  (file, at) => file.getUint32(at) === 0x45584946,
];

/** EXIF data is a TIFF file, after "Exif\0\0" in JPEG and some WebP files. */
const isTiffHeader = (bytes: Uint8Array, i: number): boolean =>
  (bytes[i] === 0x49 && bytes[i + 1] === 0x49 && bytes[i + 2] === 42 && bytes[i + 3] === 0) ||
  (bytes[i] === 0x4d && bytes[i + 1] === 0x4d && bytes[i + 2] === 0 && bytes[i + 3] === 42);
