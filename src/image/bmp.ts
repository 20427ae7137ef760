import type { RawImage } from './types.ts';

interface BmpHeader {
  width: number;
  height: number;
  topDown: boolean;
  bits: number;
  compression: number;
  palette: Uint8Array; // [256, 3] RGB
  masks: [r: number, g: number, b: number];
  pixels: number; // offset of the first row
}

const RGB = 0;
const RLE8 = 1;
const RLE4 = 2;
const BITFIELDS = 3;
const ALPHABITFIELDS = 6;

/**
 * Decodes a Windows or OS/2 bitmap: palettes of 1, 4 and 8 bits (plain or run-length coded), and 16, 24 and 32 bits
 * with any colour masks, bottom-up or top-down. Alpha is dropped.
 *
 * @param checkSize called with the image's size before memory is allocated
 * @throws Error with the reason if the file is damaged or truncated
 */
export function decodeBmp(bytes: Uint8Array, checkSize: (width: number, height: number) => void): RawImage {
  const header = readHeader(bytes);
  checkSize(header.width, header.height);
  const data = new Uint8Array(header.width * header.height * 3);
  if (header.compression === RLE8 || header.compression === RLE4) readRuns(bytes, header, data);
  else if (header.bits <= 8) readPalette(bytes, header, data);
  else if (header.bits === 24) readTriples(bytes, header, data);
  else readMasked(bytes, header, data);
  return { data, width: header.width, height: header.height };
}

function readHeader(bytes: Uint8Array): BmpHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const fail = (why: string): never => {
    throw new Error(why);
  };
  if (bytes.length < 18) fail('the header is truncated');
  const headerSize = view.getUint32(14, true);
  if (bytes.length < 14 + headerSize) fail('the header is truncated');

  const os2 = headerSize === 12;
  const width = os2 ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = os2 ? view.getUint16(20, true) : view.getInt32(22, true); // negative: rows from the top
  const height = Math.abs(signedHeight);
  if (width <= 0 || height === 0) fail(`the size ${width} x ${height} is not possible`);
  const bits = view.getUint16(os2 ? 24 : 28, true);
  const compression = os2 ? RGB : view.getUint32(30, true);
  const expected: Record<number, number[]> = {
    [RGB]: [1, 4, 8, 16, 24, 32],
    [RLE8]: [8],
    [RLE4]: [4],
    [BITFIELDS]: [16, 32],
    [ALPHABITFIELDS]: [16, 32],
  };
  if (!expected[compression]?.includes(bits)) fail(`${bits} bits with compression ${compression} are not supported`);

  // The masks are fields of a version 2 header. With a version 1 header they follow it, at the same offset.
  const masks: BmpHeader['masks'] = bits === 16 ? [0x7c00, 0x03e0, 0x001f] : [0xff0000, 0x00ff00, 0x0000ff];
  if (compression === BITFIELDS || compression === ALPHABITFIELDS) {
    if (bytes.length < 66) fail('the header is truncated');
    for (const i of [0, 1, 2]) masks[i] = view.getUint32(54 + 4 * i, true);
  }
  return {
    width,
    height,
    topDown: signedHeight < 0,
    bits,
    compression,
    palette:
      bits <= 8
        ? readColours(bytes, 14 + headerSize, os2 ? 3 : 4, bits, os2 ? 0 : view.getUint32(46, true))
        : new Uint8Array(),
    masks,
    pixels: view.getUint32(10, true),
  };
}

/** Reads the palette, stored as blue, green, red(, unused). A count of 0 means 2^bits. Missing colours are black. */
function readColours(bytes: Uint8Array, offset: number, stride: number, bits: number, used: number): Uint8Array {
  const palette = new Uint8Array(256 * 3);
  const count = Math.min(used === 0 ? 1 << bits : used, 256);
  if (bytes.length < offset + count * stride) throw new Error('the palette is truncated');
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) palette[3 * i + c] = bytes[offset + i * stride + 2 - c]!;
  }
  return palette;
}

/** Calls `row` with the offset of each row in the file and in the output. */
function eachRow(bytes: Uint8Array, h: BmpHeader, row: (from: number, to: number) => void): void {
  const stride = Math.ceil((h.width * h.bits) / 32) * 4; // rows are padded to whole 32-bit words
  const lastRow = Math.ceil((h.width * h.bits) / 8);
  if (bytes.length < h.pixels + stride * (h.height - 1) + lastRow) throw new Error('the pixels are truncated');
  for (let y = 0; y < h.height; y++) row(h.pixels + y * stride, 3 * h.width * (h.topDown ? y : h.height - 1 - y));
}

function readTriples(bytes: Uint8Array, h: BmpHeader, data: Uint8Array): void {
  eachRow(bytes, h, (from, to) => {
    for (let x = 0; x < h.width; x++, from += 3, to += 3) {
      data[to] = bytes[from + 2]!;
      data[to + 1] = bytes[from + 1]!;
      data[to + 2] = bytes[from]!;
    }
  });
}

function readPalette(bytes: Uint8Array, h: BmpHeader, data: Uint8Array): void {
  const perByte = 8 / h.bits;
  eachRow(bytes, h, (from, to) => {
    for (let x = 0; x < h.width; x++) {
      const shift = 8 - h.bits * (1 + (x % perByte)); // the leftmost pixel is in the highest bits
      const index = (bytes[from + Math.floor(x / perByte)]! >> shift) & ((1 << h.bits) - 1);
      setColour(data, to + 3 * x, h.palette, index);
    }
  });
}

function readMasked(bytes: Uint8Array, h: BmpHeader, data: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = h.bits / 8;
  const channels = h.masks.map(mask => {
    const shift = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask);
    const max = mask >>> shift;
    return { shift, max };
  });
  eachRow(bytes, h, (from, to) => {
    for (let x = 0; x < h.width; x++, from += size) {
      const value = size === 2 ? view.getUint16(from, true) : view.getUint32(from, true);
      for (const { shift, max } of channels) {
        const level = (value >>> shift) & max;
        data[to++] = max === 0 ? 0 : Math.floor((level * 255) / max); // Pillow rounds down here
      }
    }
  });
}

/**
 * Reads run-length coded pixels: pairs (count, index). After a count of 0: 0 ends the line, 1 ends the image, 2 moves
 * the position, n > 2 is followed by n indices.
 */
function readRuns(bytes: Uint8Array, h: BmpHeader, data: Uint8Array): void {
  let at = h.pixels;
  let x = 0;
  let y = 0;
  const next = (): number => {
    if (at >= bytes.length) throw new Error('the pixels are truncated');
    return bytes[at++]!;
  };
  const put = (index: number): void => {
    if (x < h.width && y < h.height) {
      setColour(data, 3 * ((h.topDown ? y : h.height - 1 - y) * h.width + x), h.palette, index);
    }
    x++;
  };
  const nibble = (byte: number, i: number): number => (i % 2 === 0 ? byte >> 4 : byte & 15);
  for (let i = 0; i < data.length; i += 3) setColour(data, i, h.palette, 0); // skipped pixels keep colour 0
  while (y < h.height) {
    const count = next();
    const value = next();
    if (count > 0) for (let i = 0; i < count; i++) put(h.bits === 8 ? value : nibble(value, i));
    else if (value === 0) [x, y] = [0, y + 1];
    else if (value === 1) return;
    else if (value === 2) [x, y] = [x + next(), y + next()];
    else {
      const packed = h.bits === 8 ? value : Math.ceil(value / 2);
      const plain = Array.from({ length: packed }, next);
      for (let i = 0; i < value; i++) put(h.bits === 8 ? plain[i]! : nibble(plain[i >> 1]!, i));
      if (packed % 2 === 1) next(); // padding to 16 bits
    }
  }
}

function setColour(data: Uint8Array, to: number, palette: Uint8Array, index: number): void {
  data[to] = palette[3 * index]!;
  data[to + 1] = palette[3 * index + 1]!;
  data[to + 2] = palette[3 * index + 2]!;
}
