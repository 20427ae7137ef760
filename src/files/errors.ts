import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { Florence2Error } from '../errors.ts';

/** Meanings of system error codes, to end a sentence. */
const REASONS: Record<string, string> = {
  ENOENT: 'no such file or folder',
  ENOTDIR: 'a part of the path is not a folder',
  EISDIR: 'it is a folder, not a file',
  EEXIST: 'it already exists',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EMFILE: 'too many files are open',
};

/** What some codes mean if they occur while a file is created. */
const FOLDER_REASONS: Record<string, string> = {
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'its folder is a file',
  EEXIST: 'its folder is a file',
};

/** Returns why a system call failed, or undefined for other errors and for codes that users can do nothing about. */
export function systemReason(error: unknown): string | undefined {
  return REASONS[codeOf(error)];
}

/** Whether an error says that a file does not exist. */
export const isAbsent = (error: unknown): boolean => /^(ENOENT|ENOTDIR)$/.test(codeOf(error));

/** Whether an error says that no space is left for writing. */
export const isDiskFull = (error: unknown): boolean => /^(ENOSPC|EDQUOT)$/.test(codeOf(error));

/** Returns a system error from reading a file as a Florence2Error. Other errors are returned unchanged. */
export function fileError(path: string, error: unknown): unknown {
  if (codeOf(error) === '' || error instanceof Florence2Error) return error;
  if (isAbsent(error)) return new Florence2Error(`${path} does not exist.`, { code: 'FILE_NOT_FOUND', cause: error });
  return new Florence2Error(`${path} cannot be read: ${systemReason(error) ?? (error as Error).message}.`, {
    code: 'FILE_NOT_READABLE',
    cause: error,
  });
}

/**
 * Returns a system error from writing a file as a Florence2Error. Other errors are returned unchanged.
 *
 * @param path the file that the user named, not a temporary one
 */
export function writeError(path: string, error: unknown): unknown {
  if (!(error instanceof Error && 'syscall' in error)) return error;
  const inFolder =
    codeOf(error) === 'ENOENT' && existsSync(dirname(path)) ? 'its folder takes no new files' : undefined;
  const reason =
    inFolder ?? FOLDER_REASONS[codeOf(error)] ?? systemReason(error) ?? `the system reports ${codeOf(error)}`;
  return new Florence2Error(`${path} cannot be written: ${reason}.`, { code: 'FILE_NOT_WRITABLE', cause: error });
}

/**
 * Returns an error from writing to a temporary path as one about the path that it gets later: system errors as
 * `writeError` does, and messages that name the temporary path with the later one. Other errors are returned unchanged.
 */
export function errorAt(path: string, temporary: string, error: unknown): unknown {
  if (!(error instanceof Florence2Error)) return writeError(path, error);
  const { message, code, cause } = error;
  if (!message.includes(temporary)) return error;
  return new Florence2Error(message.replaceAll(temporary, path), { code, cause });
}

const codeOf = (error: unknown): string => (error instanceof Error && (error as NodeJS.ErrnoException).code) || '';
