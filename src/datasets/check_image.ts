import { open } from 'node:fs/promises';
import type { ImageSize } from '../geometry/types.ts';
import { decodeImage, readImageSize } from '../image/decode.ts';
import type { ImageInput } from '../image/types.ts';

/** What ends the file of an image, by its first bytes. */
const ENDS = [
  { starts: [0x89, 0x50, 0x4e, 0x47], ends: [0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82] }, // PNG: IEND and its CRC
  { starts: [0xff, 0xd8, 0xff], ends: [0xff, 0xd9] }, // JPEG: EOI
] as const;

/** Bytes at the end of a file that are searched, because other data may follow the image. */
const TAIL = 4096;

/**
 * Returns the size of an image. Of a PNG or JPEG file only the header and the end are read, which shows whether the file
 * is cut off. Other images, and files in which no end is found, are decoded.
 *
 * @throws Florence2Error, naming the file, if it cannot be decoded
 */
export async function checkImageFile(image: ImageInput): Promise<ImageSize> {
  if (typeof image !== 'string' || !(await hasEnd(image))) return decodeImage(image);
  return readImageSize(image);
}

/** Whether the file is a PNG or JPEG file with its end. False for files that cannot be read. */
async function hasEnd(path: string): Promise<boolean> {
  const file = await open(path).catch(() => undefined);
  if (!file) return false;
  try {
    const { size } = await file.stat();
    const start = Buffer.alloc(4);
    const tail = Buffer.alloc(Math.min(size, TAIL));
    await file.read(start, 0, 4, 0);
    const format = ENDS.find(({ starts }) => start.indexOf(Buffer.from(starts)) === 0);
    if (!format) return false;
    await file.read(tail, 0, tail.length, size - tail.length);
    return tail.includes(Buffer.from(format.ends));
  } finally {
    await file.close();
  }
}
