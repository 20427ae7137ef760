import { mkdir } from 'node:fs/promises';
import { dirname, extname } from 'node:path';
import { UsageError } from '../errors.ts';
import { writeError } from '../files/errors.ts';
import { UnfinishedFile } from '../files/write.ts';
import { asBytes } from '../weights/dtypes.ts';
import { makeHeader } from '../weights/safetensors.ts';

export interface ArrayFileOptions {
  /** Of the whole array, rows first. */
  shape: readonly number[];
  /** The tensor's, in a safetensors file. */
  name: string;
  /** Of a safetensors file; .npy has none. */
  metadata: Record<string, string>;
}

/** Complains about a path of another kind, before there is anything to write. */
export function arrayFileKind(path: string): 'npy' | 'safetensors' {
  const extension = extname(path).toLowerCase();
  if (extension === '.npy') return 'npy';
  if (extension === '.safetensors') return 'safetensors';
  throw new UsageError(`${path}: features are written as .npy or .safetensors: name such a file.`);
}

/**
 * One fp32 array whose rows come one after the other: a .npy file, or a safetensors file with one tensor. It appears
 * under its name when it is finished, and not at all when it is abandoned.
 */
export class ArrayFile {
  private constructor(private readonly file: UnfinishedFile) {}

  /** @throws Florence2Error when the place cannot be written */
  static async create(path: string, { shape, name, metadata }: ArrayFileOptions): Promise<ArrayFile> {
    const tensors = [{ name, shape, dtype: 'F32' as const }];
    const header = arrayFileKind(path) === 'npy' ? npyHeader(shape) : makeHeader(path, tensors, metadata);
    await mkdir(dirname(path), { recursive: true }).catch(error => {
      throw writeError(path, error);
    });
    const file = await UnfinishedFile.create(path);
    try {
      await file.append(header);
    } catch (error) {
      await file.abandon();
      throw error;
    }
    return new ArrayFile(file);
  }

  append(values: Float32Array): Promise<void> {
    return this.file.append(asBytes(values));
  }

  finish(): Promise<void> {
    return this.file.finish();
  }

  /** Removes what was written. */
  abandon(): Promise<void> {
    return this.file.abandon();
  }
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY

/**
 * What stands before the values of a .npy file of fp32, little-endian, in C order: magic, version 1.0, the header's
 * length, and the header, which spaces and a line feed bring to a multiple of 64 bytes.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
export function npyHeader(shape: readonly number[]): Uint8Array {
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`;
  const before = MAGIC.length + 4;
  const length = Math.ceil((before + header.length + 1) / 64) * 64 - before;
  const text = new TextEncoder().encode(`${header.padEnd(length - 1)}\n`);
  return Uint8Array.from([...MAGIC, 1, 0, length & 0xff, length >> 8, ...text]);
}
