import type { RawImage } from '../image/types.ts';
import { codec } from '../platform/node.ts';
import type { PackedRows, ReportImage } from './report.ts';

/** Packs non-negative values into one byte each, row by row along the last axis (see `PackedRows`). */
export async function packRows(values: Float32Array, shape: readonly number[]): Promise<PackedRows> {
  const width = shape.at(-1)!;
  const rows = width === 0 ? 0 : values.length / width;
  const bytes = new Uint8Array(values.length);
  const peaks = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const begin = row * width;
    let peak = 0;
    for (let i = begin; i < begin + width; i++) peak = Math.max(peak, values[i]);
    peaks[row] = peak;
    if (peak === 0) continue;
    for (let i = begin; i < begin + width; i++) bytes[i] = Math.round(255 * Math.sqrt(Math.max(0, values[i]) / peak));
  }
  const [packedBytes, packedPeaks] = await Promise.all([gzip(bytes), gzip(littleEndian(peaks))]);
  return { shape: [...shape], bytes: base64(packedBytes), peaks: base64(packedPeaks) };
}

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Encodes bytes as base64, in chunks because the number of arguments of a call is limited. */
function base64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

function littleEndian(values: Float32Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) view.setFloat32(4 * i, value, true);
  return bytes;
}

/** Longest side of the picture in the page, in pixels: it keeps a report small. */
const LONGEST = 1280;

/** Returns an image as a data URL for the page. Small images keep all of their pixels. */
export async function reportImage(name: string, image: RawImage): Promise<ReportImage> {
  const { width, height } = image;
  const { bytes, type } = await codec.encodePreview(image, LONGEST);
  return { name, width, height, src: `data:${type};base64,${base64(bytes)}` };
}
