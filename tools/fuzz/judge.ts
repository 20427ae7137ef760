import { Florence2Error } from '../../src/errors.ts';

const LONGEST_MESSAGE = 500;

/**
 * Returns what is wrong with an error: it must be one of ours, with one short line that names the file or its folder, or
 * what `named` matches.
 */
export function judge(error: unknown, folder: string, named?: RegExp): string | null {
  if (!(error instanceof Florence2Error)) return `raw error: ${(error as Error)?.stack ?? error}`;
  const { message } = error;
  if (/[\r\n]/.test(message)) return `more than one line: ${message}`;
  if (message.length >= LONGEST_MESSAGE) return `${message.length} characters: ${message.slice(0, 200)}…`;
  return message.includes(folder) || named?.test(message) ? null : `does not name the file: ${message}`;
}
