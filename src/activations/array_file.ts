import { dirname, extname } from 'node:path';
import { UsageError } from '../errors.ts';
import { writeError } from '../files/errors.ts';
import { makeFolder, UnfinishedFile } from '../files/write.ts';
import { asBytes } from '../weights/dtypes.ts';
import { npyHeader } from '../weights/npy.ts';
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
    await makeFolder(dirname(path)).catch(error => {
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
