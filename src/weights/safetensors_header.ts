import { Florence2Error } from '../errors.ts';
import { duplicateKey, isRecord } from '../json.ts';
import { show } from '../show.ts';
import { DTYPE_BYTES, isDtype } from './dtypes.ts';
import { packedHint } from './quantised.ts';
import type { TensorInfo } from './tensor_file.ts';

/** A tensor and the range of its bytes in the file. */
export interface StoredTensor extends TensorInfo {
  readonly begin: number;
  readonly end: number;
}

/** The parsed header of a safetensors file. */
export interface SafetensorsHeader {
  readonly tensors: Map<string, StoredTensor>;
  readonly metadata: Record<string, string>;
}

/** The limit of the reference implementation. It keeps damaged or hostile files from allocating more memory. */
export const LARGEST_HEADER = 100_000_000;

/** Returns the length of the header from the first 8 bytes of a file. @throws Florence2Error if it cannot be right */
export function headerLength(first8: Uint8Array, fileSize: number, path: string): number {
  const length = new DataView(first8.buffer, first8.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(LARGEST_HEADER)) {
    throw new Florence2Error(
      `${path}: header length ${length} exceeds the limit of ${LARGEST_HEADER}: this is not a safetensors file, or it is damaged.`,
    );
  }
  if (8 + Number(length) > fileSize) {
    throw new Florence2Error(
      `${path}: header length ${length} exceeds the file's ${fileSize} bytes: the file is truncated or damaged.`,
    );
  }
  return Number(length);
}

/**
 * Parses and checks a safetensors header: each byte of data must belong to exactly one tensor, and each tensor must
 * have the size of its shape and dtype. Offsets in the result are from the beginning of the file.
 *
 * @throws Florence2Error naming the file, and the tensor, for anything that does not follow the format
 */
export function parseHeader(bytes: Uint8Array, fileSize: number, path: string): SafetensorsHeader {
  const header = parseObject(bytes, path);
  const dataStart = 8 + bytes.length;
  const dataSize = fileSize - dataStart;
  const tensors = new Map<string, StoredTensor>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') metadata = parseMetadata(entry, path);
    else tensors.set(name, parseEntry(name, entry, dataStart, dataSize, path));
  }
  checkCoverage([...tensors.values()], dataStart, fileSize, path);
  return { tensors, metadata };
}

function parseObject(bytes: Uint8Array, path: string): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Florence2Error(`${path}: the header is not UTF-8: this is not a safetensors file, or it is damaged.`);
  }
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    const reason = (error as Error).message.replaceAll('\n', ' ');
    throw new Florence2Error(`${path}: the header is not JSON (${reason}).`, { cause: error });
  }
  if (!text.startsWith('{') || !isRecord(header)) {
    throw new Florence2Error(`${path}: the header is not a JSON object.`);
  }
  const twice = duplicateKey(text);
  if (twice) throw new Florence2Error(`${path}: the header has ${twice.join(': ')} twice.`);
  return header;
}

function parseMetadata(entry: unknown, path: string): Record<string, string> {
  if (!isRecord(entry)) throw new Florence2Error(`${path}: __metadata__ is not an object of strings.`);
  for (const [key, value] of Object.entries(entry)) {
    if (typeof value !== 'string') throw new Florence2Error(`${path}: __metadata__ ${key} is not a string.`);
  }
  return entry as Record<string, string>;
}

function parseEntry(name: string, entry: unknown, dataStart: number, dataSize: number, path: string): StoredTensor {
  const fail = (problem: string): never => {
    throw new Florence2Error(`${path}: tensor ${name}: ${problem}.`);
  };
  if (!isRecord(entry)) return fail('its header entry is not an object');
  const { dtype, shape, data_offsets: offsets, ...rest } = entry;
  const surplus = Object.keys(rest)[0];
  if (surplus !== undefined) return fail(`unknown field ${surplus} in its header entry`);
  if (!isDtype(dtype)) {
    return fail(`dtype ${show(dtype)} is not one of ${Object.keys(DTYPE_BYTES).join(', ')}${packedHint(dtype)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    return fail(`shape ${show(shape)} is not a list of non-negative integers`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    return fail(`data_offsets ${show(offsets)} are not two non-negative integers`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataSize) {
    return fail(`data_offsets ${begin}..${end} are outside of the file's ${dataSize} bytes of data`);
  }
  const size = shape.reduce((n: number, d: number) => n * d, DTYPE_BYTES[dtype]);
  if (!Number.isSafeInteger(size)) return fail(`shape ${show(shape)} is too large`);
  if (size !== end - begin) {
    return fail(`${dtype} ${show(shape)} is ${size} bytes, data_offsets ${begin}..${end} hold ${end - begin}`);
  }
  return { name, dtype, shape, begin: dataStart + begin, end: dataStart + end };
}

function checkCoverage(tensors: StoredTensor[], dataStart: number, fileSize: number, path: string): void {
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = dataStart;
  let before = 'the header';
  for (const tensor of tensors) {
    if (tensor.begin < covered) throw new Florence2Error(`${path}: tensors ${before} and ${tensor.name} overlap.`);
    if (tensor.begin > covered) {
      throw new Florence2Error(
        `${path}: ${tensor.begin - covered} bytes between ${before} and tensor ${tensor.name} belong to no tensor.`,
      );
    }
    covered = tensor.end;
    before = tensor.name;
  }
  if (covered !== fileSize) {
    throw new Florence2Error(`${path}: ${fileSize - covered} bytes at the end belong to no tensor.`);
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
