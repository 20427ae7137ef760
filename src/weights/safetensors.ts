import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../files/folder.ts';
import { asBytes, DTYPE_BYTES, narrowFromFloat32, readFloat32At, readInt32At } from './dtypes.ts';
import { headerLength, parseHeader, type SafetensorsHeader, type StoredTensor } from './safetensors_header.ts';
import { elementCount, requireTensor, type TensorFile } from './tensor_file.ts';

/**
 * Reads the header of a safetensors file (format: https://huggingface.co/docs/safetensors) and checks it. Tensors are
 * read on request, at their position, so files may be larger than memory.
 *
 * @param source is closed together with the result, and if this throws
 * @throws Florence2Error naming the file, and the tensor, for anything that does not follow the format
 */
export async function readSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  try {
    const { tensors, metadata } = await readHeader(source);
    return new SafetensorsFile(source, tensors, metadata);
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function readHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const { path, size } = source;
  if (size < 8) throw new Florence2Error(`${path}: ${size} bytes is too short for a safetensors file.`);
  const first8 = new Uint8Array(8);
  await source.read(first8, 0, 'the header length');
  const header = new Uint8Array(headerLength(first8, size, path));
  await source.read(header, 8, 'the header');
  return parseHeader(header, size, path);
}

export class SafetensorsFile implements TensorFile {
  readonly path: string;

  constructor(
    private readonly source: ByteSource,
    readonly tensors: ReadonlyMap<string, StoredTensor>,
    /** The file's `__metadata__`: usually `{ format: 'pt' }`. */
    readonly metadata: Record<string, string>,
  ) {
    this.path = source.path;
  }

  async readFloat32(name: string, into?: Float32Array): Promise<Float32Array> {
    const tensor = requireTensor(this.tensors, name, this.path);
    return readFloat32At(this.source, tensor.begin, tensor, into);
  }

  async readInt32(name: string): Promise<Int32Array> {
    const tensor = requireTensor(this.tensors, name, this.path);
    return readInt32At(this.source, tensor.begin, tensor);
  }

  locate(name: string): { source: ByteSource; position: number } {
    return { source: this.source, position: requireTensor(this.tensors, name, this.path).begin };
  }

  close(): Promise<void> {
    return this.source.close();
  }
}

type Values = Float32Array | Int32Array;

/** A tensor for `safetensorsContent` and `writeSafetensors`. */
export interface TensorToWrite {
  name: string;
  shape: readonly number[];
  /** Default: F32 for a Float32Array, I32 for an Int32Array. */
  dtype?: 'F32' | 'F16' | 'BF16' | 'I64' | 'I32';
  /** The values, or a function that returns them, so that only one tensor is in memory at a time. */
  data: Values | (() => Values | Promise<Values>);
}

/**
 * Returns the content of a safetensors file in chunks: the header, then one tensor at a time. fp32 is rounded to F16
 * and BF16 to nearest, ties to even.
 *
 * @param path of the file, for messages
 * @throws Florence2Error if two tensors have the same name, or a tensor's values do not fit its shape or dtype
 */
export async function* safetensorsContent(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata: Record<string, string> = { format: 'pt' },
): AsyncGenerator<Uint8Array> {
  // Larger elements first, as in the reference writer: this aligns every tensor to its element size.
  const list = [...tensors].map(tensor => ({ ...tensor, dtype: tensor.dtype ?? defaultDtype(tensor) }));
  list.sort((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
  yield makeHeader(path, list, metadata);
  for (const tensor of list) yield await tensorBytes(path, tensor);
}

function defaultDtype(tensor: TensorToWrite): 'F32' | 'I32' {
  return tensor.data instanceof Int32Array ? 'I32' : 'F32';
}

type TypedTensor = TensorToWrite & { dtype: NonNullable<TensorToWrite['dtype']> };

/**
 * Returns the header length and the header of a file with these tensors in this order. Spaces at the end of the header
 * align the data to 8 bytes.
 *
 * @throws Florence2Error if two tensors have the same name
 */
export function makeHeader(
  path: string,
  tensors: readonly Pick<TypedTensor, 'name' | 'shape' | 'dtype'>[],
  metadata: Record<string, string>,
): Uint8Array {
  const header = new Map<string, unknown>([['__metadata__', metadata]]);
  let offset = 0;
  for (const { name, shape, dtype } of tensors) {
    if (header.has(name)) throw new Florence2Error(`${path}: two tensors are named ${name}.`);
    const end = offset + elementCount(shape) * DTYPE_BYTES[dtype];
    header.set(name, { dtype, shape, data_offsets: [offset, end] });
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const bytes = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(json, 8);
  return bytes;
}

async function tensorBytes(path: string, { name, shape, dtype, data }: TypedTensor): Promise<Uint8Array> {
  const values = typeof data === 'function' ? await data() : data;
  if (values.length !== elementCount(shape)) {
    throw new Florence2Error(`${path}: tensor ${name} has ${values.length} values for the shape [${shape}].`);
  }
  if (values instanceof Float32Array !== (dtype[0] !== 'I')) {
    throw new Florence2Error(`${path}: tensor ${name} cannot be written as ${dtype} from ${values.constructor.name}.`);
  }
  if (dtype === 'I32') return asBytes(values);
  if (dtype === 'I64') return asBytes(BigInt64Array.from(values as Int32Array, BigInt));
  return narrowFromFloat32(values as Float32Array, dtype);
}
