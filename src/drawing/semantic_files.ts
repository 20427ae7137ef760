import { crc32, deflateSync } from 'node:zlib';
import type { SemanticMap } from '../results/semantic.ts';
import { npyHeader } from '../weights/npy.ts';

/**
 * Returns a map as a PNG file with a palette: the pixels are the indices of the classes, the colours those of Pascal VOC
 * (class 0 is black). Node only.
 */
export function semanticPng({ data, width, height, classes }: SemanticMap): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8); // 8 bits, palette, deflate, no filters, not interlaced
  const rows = Buffer.alloc((width + 1) * height); // each row begins with its filter, 0 for none
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const palette = Buffer.from(classes.flatMap((_, index) => vocColor(index)));
  const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
  const chunks = [chunk('IHDR', header), chunk('PLTE', palette), chunk('IDAT', deflateSync(rows)), chunk('IEND')];
  return Buffer.concat([Buffer.from(signature), ...chunks]);
}

/** Returns a map as a .npy file of unsigned bytes, [H, W]. Node only. */
export function semanticNpy({ data, width, height }: SemanticMap): Uint8Array {
  return Buffer.concat([npyHeader([height, width], '|u1'), data]);
}

/** Returns the colour of a class in Pascal VOC: the bits of its index, spread over the high bits of the channels. */
export function vocColor(index: number): [red: number, green: number, blue: number] {
  const color: [number, number, number] = [0, 0, 0];
  for (let bit = 0; bit < 8; bit++) {
    const channel = bit % 3;
    if (index & (1 << bit)) color[channel] |= 1 << (7 - Math.floor(bit / 3));
  }
  return color;
}

/** A chunk of a PNG file: length, type, data, and the checksum of type and data. */
function chunk(type: string, data: Uint8Array = new Uint8Array()): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}
