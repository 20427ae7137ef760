import { type FileHandle, open } from 'node:fs/promises';
import { Florence2Error } from '../errors.ts';
import type { ByteSource } from './tensor_file.ts';

/** One read call takes at most 2 GiB - 1; smaller pieces also keep the kernel's and libuv's buffers small. */
const largestRead = 64 << 20;

/** Opens a file for positioned reads. Throws a Florence2Error when it is not there or is no file. */
export async function openFile(path: string): Promise<ByteSource> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Florence2Error(`${path} is not a file.`);
    return new FileSource(path, stat.size, handle);
  } catch (error) {
    await handle?.close();
    throw fileError(path, error);
  }
}

/** A system error about a file, as a sentence. */
export function fileError(path: string, error: unknown): Error {
  if (error instanceof Florence2Error) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return new Florence2Error(`${path} does not exist.`);
  if (code === 'EACCES' || code === 'EPERM') return new Florence2Error(`${path} may not be read (${code}).`);
  if (code === 'EISDIR') return new Florence2Error(`${path} is a folder, not a file.`);
  return new Florence2Error(`${path} cannot be read: ${(error as Error).message}`);
}

class FileSource implements ByteSource {
  constructor(
    readonly path: string,
    readonly size: number,
    private readonly handle: FileHandle,
  ) {}

  async read(target: Uint8Array, position: number, what: string): Promise<void> {
    let done = 0;
    while (done < target.length) {
      const length = Math.min(target.length - done, largestRead);
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
