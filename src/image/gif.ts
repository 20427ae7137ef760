import type { RawImage } from './types.ts';

interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
  interlaced: boolean;
  palette: Uint8Array | undefined; // [n, 3]
  transparent: number | undefined;
  pixels: Uint8Array; // [height, width] palette indices, in stored order
}

/**
 * Decodes the first frame of a GIF like Pillow: transparent pixels keep their palette colour, which sharp's decoder
 * discards. Pixels outside a frame that is smaller than the image have the transparent index, or index 0 without one.
 *
 * @param checkSize called with the image's size before memory is allocated
 * @throws Error with the reason if the file is damaged or truncated
 */
export function decodeGif(bytes: Uint8Array, checkSize: (width: number, height: number) => void): RawImage {
  const frame = readFrame(bytes, checkSize);
  // A frame that exceeds the image enlarges it.
  const width = Math.max(u16(bytes, 6), frame.left + frame.width);
  const height = Math.max(u16(bytes, 8), frame.top + frame.height);
  const data = new Uint8Array(width * height * 3);
  const put = (to: number, index: number): void => {
    for (let c = 0; c < 3; c++)
      data[to + c] = frame.palette === undefined ? index : (frame.palette[3 * index + c] ?? 0);
  };
  for (let to = 0; to < data.length; to += 3) put(to, frame.transparent ?? 0);
  const rows = frame.interlaced ? interlacedRows(frame.height) : Array.from({ length: frame.height }, (_, y) => y);
  rows.forEach((y, stored) => {
    const to = 3 * ((frame.top + y) * width + frame.left);
    for (let x = 0; x < frame.width; x++) put(to + 3 * x, frame.pixels[stored * frame.width + x]!);
  });
  return { data, width, height };
}

/** Reads blocks up to the first frame (0x2C). Of the extensions (0x21) before it only the transparent index is used. */
function readFrame(bytes: Uint8Array, checkSize: (width: number, height: number) => void): Frame {
  let at = 13;
  const palette = (flags: number): Uint8Array | undefined => {
    if ((flags & 0x80) === 0) return undefined;
    const size = 3 << ((flags & 7) + 1);
    at += size;
    return bytes.slice(at - size, at);
  };
  const shared = palette(byteAt(bytes, 10));
  let transparent: number | undefined;
  for (;;) {
    const kind = byteAt(bytes, at++);
    if (kind === 0x21) {
      const control = byteAt(bytes, at++) === 0xf9;
      const { data, end } = readBlocks(bytes, at);
      if (control && data.length >= 4) transparent = (data[0]! & 1) === 1 ? data[3]! : undefined;
      at = end;
    } else if (kind === 0x2c) {
      const [left, top, width, height] = [u16(bytes, at), u16(bytes, at + 2), u16(bytes, at + 4), u16(bytes, at + 6)];
      checkSize(Math.max(left + width, u16(bytes, 6)), Math.max(top + height, u16(bytes, 8)));
      const flags = byteAt(bytes, at + 8);
      at += 9;
      const own = palette(flags);
      const codeBits = byteAt(bytes, at++);
      const pixels = unpack(readBlocks(bytes, at).data, codeBits, width * height);
      return {
        left,
        top,
        width,
        height,
        interlaced: (flags & 0x40) !== 0,
        palette: own ?? shared,
        transparent,
        pixels,
      };
    } else if (kind === 0x3b) throw new Error('it contains no image');
    // Other bytes are skipped as padding.
  }
}

/** Reads data stored in blocks, each a length byte and up to 255 bytes; a block of length 0 ends the data. */
function readBlocks(bytes: Uint8Array, at: number): { data: Uint8Array; end: number } {
  const blocks: Uint8Array[] = [];
  // The last block may be missing. `unpack` throws if pixels are missing.
  for (let size = bytes[at++] ?? 0; size > 0; size = bytes[at++] ?? 0) {
    blocks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return { data: concat(blocks), end: at };
}

/**
 * Unpacks GIF's variable-width LZW. Entry `code` of the table is entry `prefix[code]` followed by the byte
 * `suffix[code]`. Codes have codeBits + 1 to 12 bits, lowest bit first.
 */
function unpack(packed: Uint8Array, codeBits: number, count: number): Uint8Array {
  if (codeBits < 1 || codeBits > 8) throw new Error(`a code size of ${codeBits} is not possible`);
  // Before memory is allocated: a code has at least two bits and stands for at most 4,096 pixels.
  if (count > 4 * 4096 * packed.length) throw new Error('the pixels are truncated');
  const pixels = new Uint8Array(count);
  const prefix = new Uint16Array(4096);
  const suffix = new Uint8Array(4096);
  const length = new Uint16Array(4096).fill(1, 0, 1 << codeBits);
  for (let i = 0; i < 1 << codeBits; i++) suffix[i] = i;
  const clear = 1 << codeBits;
  let [next, bits, previous] = [clear + 2, codeBits + 1, -1];
  let [buffer, held, at, to] = [0, 0, 0, 0];
  while (to < count) {
    for (; held < bits; held += 8) {
      if (at >= packed.length) throw new Error('the pixels are truncated');
      buffer |= packed[at++]! << held;
    }
    const code = buffer & ((1 << bits) - 1);
    buffer >>>= bits;
    held -= bits;
    if (code === clear) {
      [next, bits, previous] = [clear + 2, codeBits + 1, -1];
      continue;
    }
    if (code === clear + 1) throw new Error('the pixels end early');
    if (code > next || (code === next && previous < 0)) throw new Error('the pixels are damaged');

    // A code that is not in the table yet is the previous entry followed by its first byte.
    const known = code < next ? code : previous;
    const size = length[known]!;
    let entry = known;
    for (let i = to + size - 1; i >= to; i--, entry = prefix[entry]!) if (i < count) pixels[i] = suffix[entry]!;
    const first = pixels[to]!;
    to += size;
    if (code === next && to < count) pixels[to] = first;
    if (code === next) to++;

    if (previous >= 0 && next < 4096) {
      prefix[next] = previous;
      suffix[next] = first;
      length[next] = length[previous]! + 1;
      next++;
      if (next === 1 << bits && bits < 12) bits++;
    }
    previous = code;
  }
  return pixels;
}

/** Returns rows in interlaced order: every 8th from 0, every 8th from 4, every 4th from 2, every 2nd from 1. */
function interlacedRows(height: number): number[] {
  const rows: number[] = [];
  for (const [start, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const) {
    for (let y = start; y < height; y += step) rows.push(y);
  }
  return rows;
}

function concat(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function byteAt(bytes: Uint8Array, at: number): number {
  const byte = bytes[at];
  if (byte === undefined) throw new Error('it ends before the first image');
  return byte;
}

const u16 = (bytes: Uint8Array, at: number): number => byteAt(bytes, at) + 256 * byteAt(bytes, at + 1);
