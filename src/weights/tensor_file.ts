import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../files/folder.ts';

/** Element types as files name them (safetensors' spelling). */
export type Dtype = 'F32' | 'F16' | 'BF16' | 'F64' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: number[];
}

/**
 * Named tensors in one file, or in several that count as one. Opening reads the table of contents alone; a tensor's
 * bytes are read when it is asked for, so that a checkpoint never has to fit into memory twice.
 */
export interface TensorFile {
  /** What errors call it: the file, or the index of a sharded checkpoint. */
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * A tensor's values in row-major order, every dtype widened to fp32 (F64 and I64 are rounded).
   *
   * @param into where to put them: a buffer of at least the tensor's size, for callers that copy the values onward
   *   and read many tensors. The result is then a view on its beginning. A new array by default.
   */
  readFloat32(name: string, into?: Float32Array): Promise<Float32Array>;
  /** A tensor of integers or booleans. Throws when a value does not fit 32 bits. */
  readInt32(name: string): Promise<Int32Array>;
  /** Where a tensor's bytes are, when they lie in a row; undefined when they do not. */
  locate(name: string): { source: ByteSource; position: number } | undefined;
  close(): Promise<void>;
}

/** Looks a tensor up, or says which names there are. */
export function requireTensor<T extends TensorInfo>(tensors: ReadonlyMap<string, T>, name: string, path: string): T {
  const found = tensors.get(name);
  if (found) return found;
  const some = [...tensors.keys()].slice(0, 3).join(', ');
  throw new Florence2Error(`${path}: no tensor named ${name} (of ${tensors.size}${some ? `: ${some}, …` : ''}).`);
}

/** Number of elements of a shape. */
export const elementCount = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
