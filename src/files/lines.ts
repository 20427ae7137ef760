import { createReadStream } from 'node:fs';
import { Florence2Error } from '../errors.ts';
import { fileError } from './errors.ts';
import { requireFile } from './whole_file.ts';

/** Most characters of a line. */
const LONGEST_LINE = 64 << 20;

/**
 * Yields the non-blank lines of a UTF-8 file, trimmed, with their numbers from 1. The file is streamed, so it may be
 * larger than the longest possible string. A byte order mark and the CR of CRLF are trimmed. Only LF ends a line:
 * `node:readline` also splits at U+2028, which JSON allows within strings.
 *
 * @throws Florence2Error if the file cannot be read or has a line of more than 67,108,864 characters
 */
export async function* readLines(file: string): AsyncGenerator<{ line: number; text: string }, void> {
  let line = 0;
  let rest = '';
  try {
    await requireFile(file);
    for await (const piece of createReadStream(file, 'utf8') as AsyncIterable<string>) {
      const lines = piece.split('\n');
      lines[0] = rest + lines[0];
      rest = lines.pop()!;
      if (rest.length > LONGEST_LINE) {
        const number = line + lines.length + 1;
        throw new Florence2Error(`${file}: line ${number} is longer than the limit of ${LONGEST_LINE} characters.`);
      }
      for (const text of lines) {
        line++;
        if (text.trim() !== '') yield { line, text: text.trim() };
      }
    }
  } catch (error) {
    throw fileError(file, error);
  }
  if (rest.trim() !== '') yield { line: line + 1, text: rest.trim() };
}

/** Returns a line of a CSV file (RFC 4180), without its end. A text that a spreadsheet would run as a formula is quoted by `'`. */
export const csvLine = (cells: readonly (string | number)[]): string => cells.map(csvCell).join(',');

function csvCell(value: string | number): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
