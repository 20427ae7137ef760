import { mkdir } from 'node:fs/promises';
import { dirname, extname } from 'node:path';
import { UsageError } from '../errors.ts';
import { writeError } from '../files/errors.ts';
import { UnfinishedFile } from '../files/write.ts';
import { asBytes } from '../weights/dtypes.ts';
import { makeHeader } from '../weights/safetensors.ts';

/** The header of an array file. */
export interface ArrayFileOptions {
  /** Shape of the whole array; the first axis counts the rows. */
  shape: readonly number[];
  /** Name of the tensor in a safetensors file. */
  name: string;
  /** Metadata of a safetensors file; .npy files have none. */
  metadata: Record<string, string>;
}

/** Returns the format of an array file from its extension. @throws UsageError for other extensions */
export function arrayFileKind(path: string): 'npy' | 'safetensors' {
  const extension = extname(path).toLowerCase();
  if (extension === '.npy') return 'npy';
  if (extension === '.safetensors') return 'safetensors';
  throw new UsageError(`${path}: the file name must end in .npy or .safetensors.`);
}

/**
 * Writes one fp32 array row by row, to a .npy file or a safetensors file with a single tensor. The file gets its name
 * when it is finished. Node only.
 */
export class ArrayFile {
  private constructor(private readonly file: UnfinishedFile) {}

  /** Creates the file and missing folders. @throws Florence2Error if it cannot be written */
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

  /** Appends rows. */
  append(values: Float32Array): Promise<void> {
    return this.file.append(asBytes(values));
  }

  /** Gives the file its name. `abandon` must follow if this throws. */
  finish(): Promise<void> {
    return this.file.finish();
  }

  /** Removes the unfinished file. */
  abandon(): Promise<void> {
    return this.file.abandon();
  }
}

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY

/**
 * Returns the start of a .npy file of little-endian fp32 values in C order: magic, version 1.0, the header's length,
 * and the header, padded with spaces and a line feed so that the total is a multiple of 64 bytes.
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
