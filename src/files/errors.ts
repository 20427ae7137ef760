import { Florence2Error } from '../errors.ts';

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
