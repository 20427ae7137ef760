/**
 * The parts of a JPEG or PNG file without its EXIF data. Browsers turn a picture as its EXIF orientation says and
 * have no option left against it (createImageBitmap's 'none' has come to mean 'from-image').
 */
export function withoutExif(bytes: Uint8Array): Uint8Array[] {
  const [from, next, isExif] = bytes[0] === 0xff ? jpegSegments : pngChunks;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [bytes.subarray(0, from)];
  let at = from;
  while (at + 12 <= bytes.length) {
    const end = next(view, at);
    if (end === undefined) break;
    if (!isExif(view, at)) parts.push(bytes.subarray(at, end));
    at = end;
  }
  return [...parts, bytes.subarray(at)];
}

type Walk = [
  start: number,
  next: (file: DataView, at: number) => number | undefined,
  isExif: (file: DataView, at: number) => boolean,
];

/** Marker (2 bytes), length from itself on (2), data. APP1 that begins with "Exif" goes; the scan ends the walk. */
const jpegSegments: Walk = [
  2,
  (file, at) => {
    const marker = file.getUint16(at);
    return marker > 0xffbf && marker !== 0xffda ? at + 2 + file.getUint16(at + 2) : undefined;
  },
  (file, at) => file.getUint16(at) === 0xffe1 && file.getUint32(at + 4) === 0x45786966,
];

/** Length of the data (4 bytes), type (4), data, checksum (4). The chunk "eXIf" goes. */
const pngChunks: Walk = [
  8,
  (file, at) => at + 12 + file.getUint32(at),
  (file, at) => file.getUint32(at + 4) === 0x65584966,
];
