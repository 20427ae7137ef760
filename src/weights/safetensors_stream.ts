import { writeSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeError } from '../files/errors.ts';
import { writeAll } from '../files/write.ts';
import { asBytes } from './dtypes.ts';
import { makeHeader } from './safetensors.ts';

/** So much is held of the data while it moves behind the header. */
const PIECE = 16 << 20;

/**
 * Writes a safetensors file whose tensors come one by one, their number unknown before the last. The format begins with
 * a list of them, so the values wait in a file beside it. The file appears under its name when it is complete, and not
 * at all when it is abandoned.
 */
export class SafetensorsStream {
  private readonly tensors: { name: string; shape: number[]; dtype: 'F32' }[] = [];
  private size = 0;

  /** @throws Florence2Error when the place cannot be written */
  static async create(path: string): Promise<SafetensorsStream> {
    const waiting = besides(path);
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

  /** Writes at once: a caller that makes values faster than the disk takes them waits here, and does not pile them up. */
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

  /** Puts the file under its name. @throws Florence2Error where two tensors have one name, or it cannot be written */
  async finish(metadata: Record<string, string> = { format: 'pt' }): Promise<void> {
    const unfinished = besides(this.path);
    let file: FileHandle | undefined;
    try {
      const header = makeHeader(this.path, this.tensors, metadata);
      file = await open(unfinished, 'wx');
      await writeAll(file, header, 0);
      await this.copyTo(file, header.length);
      await file.sync();
      await file.close();
      file = undefined;
      await rename(unfinished, this.path);
    } catch (error) {
      await file?.close();
      await rm(unfinished, { force: true });
      throw writeError(this.path, error);
    } finally {
      await this.abandon();
    }
  }

  /** Removes what has been written. */
  async abandon(): Promise<void> {
    await this.data.close();
    await rm(this.waiting, { force: true });
  }

  private async copyTo(file: FileHandle, position: number): Promise<void> {
    const piece = new Uint8Array(Math.min(PIECE, this.size));
    for (let done = 0; done < this.size; ) {
      const { bytesRead } = await this.data.read(piece, 0, Math.min(piece.length, this.size - done), done);
      await writeAll(file, piece.subarray(0, bytesRead), position + done);
      done += bytesRead;
    }
  }
}

/** A name for what is not finished, in the same folder. */
const besides = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${process.pid}.${Math.random().toString(36).slice(2)}`);
