import { gunzipSync } from 'node:zlib';
import type { PackedRows } from '../../src/inspect/report.ts';

/** Unpacks rows in Node as the page does in a browser. */
export function unpackRows({ shape, bytes, peaks }: PackedRows): Float32Array {
  const [levels, tops] = [bytes, peaks].map(part => gunzipSync(Buffer.from(part, 'base64')));
  return Float32Array.from(
    levels,
    (level, i) => tops.readFloatLE(4 * Math.floor(i / shape.at(-1)!)) * (level / 255) ** 2,
  );
}
