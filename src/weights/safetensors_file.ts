import { writeSync } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { openFile } from '../files/disk_folder.ts';
import { writeError } from '../files/errors.ts';
import { unfinishedPath, writeInFolder } from '../files/write.ts';
import { asBytes } from './dtypes.ts';
import {
  makeHeader,
  readSafetensors,
  type SafetensorsFile,
  safetensorsContent,
  type TensorToWrite,
} from './safetensors.ts';

/**
 * Opens a safetensors file on disk and checks its header. Tensors are read on request.
 *
 * @throws Florence2Error naming the file, and the tensor, for anything that does not follow the format
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return readSafetensors(await openFile(path));
}

/**
 * Writes a safetensors file in a folder that exists. It appears under its name when it is complete; if writing fails,
 * an earlier file stays. fp32 is rounded to F16 and BF16 to nearest, ties to even.
 *
 * @throws Florence2Error if the file cannot be written or the tensors are not valid
 */
export function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite>,
  metadata?: Record<string, string>,
): Promise<void> {
  return writeInFolder(path, safetensorsContent(path, tensors, metadata));
}

/** Size of the buffer through which values are copied after the header. */
const COPY_CHUNK = 16 << 20;

/**
 * Writes a safetensors file tensor by tensor, without knowing their number in advance. The format starts with a list of
 * all tensors, so the values are first written to a temporary file. The file appears under its name when it is
 * complete.
 */
export class SafetensorsStream {
  private readonly tensors: { name: string; shape: number[]; dtype: 'F32' }[] = [];
  private size = 0;

  /** @throws Florence2Error if the folder cannot be written to */
  static async create(path: string): Promise<SafetensorsStream> {
    const waiting = unfinishedPath(path);
    try {
      return new SafetensorsStream(path, waiting, await open(waiting, 'wx+'));
    } catch (error) {
      throw writeError(path, error);
    }
  }

  private constructor(
    private readonly path: string,
    private readonly waiting: string,
    private readonly data: FileHandle,
  ) {}

  /** Writes synchronously, so that values that are produced faster than the disk writes do not fill the memory. */
  append(name: string, shape: readonly number[], values: Float32Array): void {
    const bytes = asBytes(values);
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(this.data.fd, bytes, done, bytes.length - done, this.size + done);
      }
    } catch (error) {
      throw writeError(this.path, error);
    }
    this.size += bytes.length;
    this.tensors.push({ name, shape: [...shape], dtype: 'F32' });
  }

  /**
   * Writes the header and the values into the file.
   *
   * @throws Florence2Error if two tensors have the same name, or the file cannot be written
   */
  async finish(metadata: Record<string, string> = { format: 'pt' }): Promise<void> {
    try {
      await writeInFolder(this.path, this.content(metadata));
    } finally {
      await this.abandon();
    }
  }

  /** Removes the temporary file. */
  async abandon(): Promise<void> {
    await this.data.close();
    await rm(this.waiting, { force: true });
  }

  private async *content(metadata: Record<string, string>): AsyncGenerator<Uint8Array> {
    yield makeHeader(this.path, this.tensors, metadata);
    const chunk = new Uint8Array(Math.min(COPY_CHUNK, this.size));
    for (let done = 0; done < this.size; ) {
      const { bytesRead } = await this.data.read(chunk, 0, Math.min(chunk.length, this.size - done), done);
      yield chunk.subarray(0, bytesRead);
      done += bytesRead;
    }
  }
}
