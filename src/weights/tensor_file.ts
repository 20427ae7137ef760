import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../files/folder.ts';

/** Element types, as safetensors names them. */
export type Dtype = 'F32' | 'F16' | 'BF16' | 'F64' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

/** A tensor of a file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: number[];
}

/**
 * Named tensors in a file, or in several shards. Opening it reads only the table of contents. Tensors are read on
 * request, so that a checkpoint is never in memory twice.
 */
export interface TensorFile {
  /** Path of the file, or of the index of a sharded checkpoint, for messages. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Reads a tensor in row-major order. All dtypes are converted to fp32 (F64 and I64 are rounded).
   *
   * @param into a buffer of at least the tensor's size, of which the result is then a view. Reusing one saves
   *   allocations. Default: a new array.
   */
  readFloat32(name: string, into?: Float32Array): Promise<Float32Array>;
  /** Reads a tensor of integers or booleans. @throws Florence2Error if a value does not fit in 32 bits */
  readInt32(name: string): Promise<Int32Array>;
  /** Returns where a tensor's bytes are if they are contiguous and row-major, else undefined. */
  locate(name: string): { source: ByteSource; position: number } | undefined;
  close(): Promise<void>;
}

/** Returns a tensor by name. @throws Florence2Error with some of the existing names */
export function requireTensor<T extends TensorInfo>(tensors: ReadonlyMap<string, T>, name: string, path: string): T {
  const found = tensors.get(name);
  if (found) return found;
  const some = [...tensors.keys()].slice(0, 3).join(', ');
  throw new Florence2Error(`${path}: no tensor named ${name} (of ${tensors.size}${some ? `: ${some}, …` : ''}).`);
}

/** Returns the number of elements of a shape. */
export const elementCount = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
