import { type FileHandle, open } from 'node:fs/promises';
import { Florence2Error } from '../errors.ts';
import type { ByteSource } from './byte_source.ts';
import { fileError } from './errors.ts';
import { LARGEST_PIECE } from './write.ts';

/** Opens a file for positioned reads. Throws a Florence2Error when it is not there or is no file. */
export async function openFile(path: string): Promise<ByteSource> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Florence2Error(`${path} is not a file.`);
    const source = new FileSource(path, stat.size, handle);
    await refusePointer(source);
    return source;
  } catch (error) {
    await handle?.close();
    throw fileError(path, error);
  }
}

/** A clone without Git LFS has small text files where the weights should be. */
async function refusePointer(source: ByteSource): Promise<void> {
  const first = new Uint8Array(Math.min(source.size, 23));
  await source.read(first, 0, 'its first bytes');
  if (new TextDecoder().decode(first) === 'version https://git-lfs') {
    throw new Florence2Error(`${source.path} is only a pointer of Git LFS: fetch the file itself with git lfs pull.`);
  }
}

class FileSource implements ByteSource {
  readonly isFile = true;

  constructor(
    readonly path: string,
    readonly size: number,
    private readonly handle: FileHandle,
  ) {}

  async read(target: Uint8Array, position: number, what: string): Promise<void> {
    let done = 0;
    while (done < target.length) {
      const length = Math.min(target.length - done, LARGEST_PIECE);
      const { bytesRead } = await this.handle.read(target, done, length, position + done).catch(error => {
        throw fileError(this.path, error);
      });
      if (bytesRead === 0) throw new Florence2Error(`${this.path} ends at byte ${position + done}, within ${what}.`);
      done += bytesRead;
    }
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
