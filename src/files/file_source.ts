import { type FileHandle, open } from 'node:fs/promises';
import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../weights/tensor_file.ts';

/** One call takes at most 2 GiB - 1; smaller pieces also keep the kernel's and libuv's buffers small. */
const largestPiece = 64 << 20;

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

/** A system error about a file, as a sentence. */
export function fileError(path: string, error: unknown): Error {
  if (error instanceof Florence2Error) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return new Florence2Error(`${path} does not exist.`);
  if (code === 'EACCES' || code === 'EPERM') return new Florence2Error(`${path} may not be read (${code}).`);
  if (code === 'EISDIR') return new Florence2Error(`${path} is a folder, not a file.`);
  return new Florence2Error(`${path} cannot be read: ${(error as Error).message}`);
}

/** A system error while a file was written, as a sentence. Other errors stay as they are. */
export function writeError(path: string, error: unknown): unknown {
  if (!(error instanceof Error && 'syscall' in error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    ENOENT: 'its folder does not exist',
    ENOTDIR: 'its folder is a file',
    EISDIR: 'there is a folder of this name',
    ENOSPC: 'the disk is full',
    EACCES: 'no permission',
    EPERM: 'no permission',
    EROFS: 'the disk is read-only',
  };
  return new Florence2Error(`${path} cannot be written: ${reasons[code ?? ''] ?? error.message}.`);
}

/** Writes all bytes at a position; one call may write less than it was given. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(bytes.length - done, largestPiece);
    const { bytesWritten } = await handle.write(bytes, done, length, position + done);
    done += bytesWritten;
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
      const length = Math.min(target.length - done, largestPiece);
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
