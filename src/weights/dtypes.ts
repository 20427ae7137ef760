import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../files/folder.ts';
import { type Dtype, elementCount, type TensorInfo } from './tensor_file.ts';

/** Size of an element in bytes. Elements are little-endian. */
export const DTYPE_BYTES: Record<Dtype, number> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

export const isDtype = (name: unknown): name is Dtype => typeof name === 'string' && Object.hasOwn(DTYPE_BYTES, name);

export const isFloat = (dtype: Dtype): boolean =>
  dtype === 'F32' || dtype === 'F16' || dtype === 'BF16' || dtype === 'F64';

/**
 * Converts elements to fp32.
 *
 * @param bytes whole elements, aligned to the element size in their buffer
 * @param out receives the values
 */
export function widenToFloat32(bytes: Uint8Array, dtype: Dtype, out: Float32Array): void {
  if (dtype === 'F16') halfToFloat(view(Uint16Array, bytes), out);
  else if (dtype === 'BF16') brainToFloat(view(Uint16Array, bytes), out);
  else if (dtype === 'I64') out.set(Array.from(view(BigInt64Array, bytes), Number));
  else out.set(numbers(bytes, dtype));
}

/**
 * Converts integers and booleans to int32. Booleans become 0 and 1; any byte but 0 is true.
 *
 * @returns the index of the first value that does not fit in 32 bits, or -1
 */
export function toInt32(bytes: Uint8Array, dtype: Dtype, out: Int32Array): number {
  if (dtype === 'I64') {
    const words = view(Int32Array, bytes); // low, high, low, high, …
    for (let i = 0; i < out.length; i++) {
      if (words[2 * i + 1] !== words[2 * i] >> 31) return i;
      out[i] = words[2 * i];
    }
  } else if (dtype === 'BOOL') {
    for (let i = 0; i < out.length; i++) out[i] = bytes[i] === 0 ? 0 : 1;
  } else {
    out.set(numbers(bytes, dtype));
  }
  return -1;
}

/** Converts fp32 to the bytes of F32, F16 or BF16, rounding to nearest, ties to even. */
export function narrowFromFloat32(values: Float32Array, dtype: 'F32' | 'F16' | 'BF16'): Uint8Array {
  if (dtype === 'F32') return asBytes(values);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const out = new Uint16Array(values.length);
  // Two loops, so that V8 inlines both functions.
  if (dtype === 'F16') for (let i = 0; i < out.length; i++) out[i] = halfBits(bits[i]);
  else for (let i = 0; i < out.length; i++) out[i] = brainBits(bits[i]);
  return asBytes(out);
}

export const asBytes = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Returns elements of a type that JavaScript has a typed array for. */
function numbers(bytes: Uint8Array, dtype: Dtype): ArrayLike<number> {
  if (dtype === 'F32') return view(Float32Array, bytes);
  if (dtype === 'F64') return view(Float64Array, bytes);
  if (dtype === 'I32') return view(Int32Array, bytes);
  if (dtype === 'I16') return view(Int16Array, bytes);
  return dtype === 'I8' ? view(Int8Array, bytes) : bytes;
}

type ArrayType<T> = { new (buffer: ArrayBufferLike, offset: number, length: number): T; BYTES_PER_ELEMENT: number };

const view = <T>(type: ArrayType<T>, bytes: Uint8Array): T =>
  new type(bytes.buffer, bytes.byteOffset, bytes.byteLength / type.BYTES_PER_ELEMENT);

let halfTable: Uint32Array | undefined;

/** Converts fp16 by a table of all 65,536 values (256 KB), several times as fast as arithmetic per element. */
function halfToFloat(halves: Uint16Array, out: Float32Array): void {
  halfTable ??= Uint32Array.from({ length: 65536 }, (_, half) => floatBits(half));
  const table = halfTable;
  const bits = new Uint32Array(out.buffer, out.byteOffset, halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = table[halves[i]];
}

function brainToFloat(brains: Uint16Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, brains.length);
  for (let i = 0; i < brains.length; i++) bits[i] = brains[i] << 16;
}

/** Returns the bits of the fp32 that equals an fp16: exponent bias 15 becomes 127, 10 mantissa bits become 23. */
function floatBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0x1f) return (sign | 0x7f800000 | (mantissa << 13)) >>> 0;
  if (exponent !== 0) return (sign | ((exponent + 112) << 23) | (mantissa << 13)) >>> 0;
  if (mantissa === 0) return sign >>> 0;
  const shift = Math.clz32(mantissa) - 21; // subnormal: the highest set bit becomes the implicit 1
  return (sign | ((113 - shift) << 23) | (((mantissa << shift) & 0x3ff) << 13)) >>> 0;
}

/** Returns the bits of the fp16 nearest to an fp32. From 65,520 on it is infinite; NaN stays NaN. */
function halfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x33000000) return sign; // below half of the smallest subnormal, 2^-24
  // Normal numbers keep 10 of 23 mantissa bits. Subnormal ones keep fewer, and the implicit 1 is shifted in.
  const exponent = magnitude >>> 23;
  if (exponent > 112) return sign | roundShift(magnitude - (112 << 23), 13);
  return sign | roundShift((magnitude & 0x7fffff) | 0x800000, 126 - exponent);
}

function brainBits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) & 0x8000) | 0x7fc0;
  return ((bits >>> 31) << 15) | roundShift(bits & 0x7fffffff, 16);
}

/**
 * Rounds value / 2^shift to the nearest integer, ties to even. A carry from the mantissa correctly raises the exponent.
 */
function roundShift(value: number, shift: number): number {
  const below = value & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const floor = value >>> shift;
  return below > half || (below === half && (floor & 1) === 1) ? floor + 1 : floor;
}

/** Size of the buffer through which dtypes other than F32 are read, so that only the fp32 result is large. */
const CHUNK_BYTES = 1 << 20;

/** Reads contiguous elements at `position` as fp32. F32 is read directly into the result. */
export async function readFloat32At(
  source: ByteSource,
  position: number,
  info: TensorInfo,
  into?: Float32Array,
): Promise<Float32Array> {
  const count = elementCount(info.shape);
  if (into && into.length < count) throw new RangeError(`${info.name}: ${count} values into ${into.length}.`);
  const out = into ? into.subarray(0, count) : new Float32Array(count);
  const what = `tensor ${info.name}`;
  if (info.dtype === 'F32') {
    await source.read(asBytes(out), position, what);
    return out;
  }
  const size = DTYPE_BYTES[info.dtype];
  const chunk = new Uint8Array(Math.min(count * size, CHUNK_BYTES));
  for (let done = 0; done < count; ) {
    const n = Math.min(count - done, CHUNK_BYTES / size);
    const bytes = chunk.subarray(0, n * size);
    await source.read(bytes, position + done * size, what);
    widenToFloat32(bytes, info.dtype, out.subarray(done, done + n));
    done += n;
  }
  return out;
}

/** Reads contiguous integers at `position` as int32. @throws Florence2Error for floats and values beyond 32 bits */
export async function readInt32At(source: ByteSource, position: number, info: TensorInfo): Promise<Int32Array> {
  if (isFloat(info.dtype)) {
    throw new Florence2Error(`${source.path}: tensor ${info.name} is ${info.dtype}, expected integers.`);
  }
  const out = new Int32Array(elementCount(info.shape));
  const bytes = new Uint8Array(out.length * DTYPE_BYTES[info.dtype]);
  await source.read(bytes, position, `tensor ${info.name}`);
  const misfit = toInt32(bytes, info.dtype, out);
  if (misfit >= 0) {
    throw new Florence2Error(`${source.path}: tensor ${info.name} element ${misfit} does not fit in 32 bits.`);
  }
  return out;
}
