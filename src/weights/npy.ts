const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY

/**
 * Returns the start of a .npy file in C order: magic, version 1.0, the header's length, and the header, padded with
 * spaces and a line feed so that the total is a multiple of 64 bytes.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 * @param type NumPy's name of the type; default little-endian fp32
 */
export function npyHeader(shape: readonly number[], type = '<f4'): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const header = `{'descr': '${type}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const before = MAGIC.length + 4;
  const length = Math.ceil((before + header.length + 1) / 64) * 64 - before;
  const text = new TextEncoder().encode(`${header.padEnd(length - 1)}\n`);
  return Uint8Array.from([...MAGIC, 1, 0, length & 0xff, length >> 8, ...text]);
}
