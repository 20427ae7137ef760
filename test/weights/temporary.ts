import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../src/errors.ts';

/** Creates a temporary folder, which is removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'florence2-test-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Expects a Florence2Error of one line that names the file and the problem. */
export async function refuses(what: string, attempt: () => unknown, file: string, problem: RegExp): Promise<void> {
  let error: unknown;
  try {
    await attempt();
  } catch (thrown) {
    error = thrown;
  }
  assert.ok(error !== undefined, `${what}: nothing was refused`);
  assert.instance(error, Florence2Error, `${what}: ${error}`);
  const { message } = error as Error;
  assert.not.match(message, /\n/, `${what}: more than one line`);
  assert.ok(message.includes(file), `${what}: "${message}" does not name ${file}`);
  assert.match(message, problem, `${what}: "${message}"`);
}

/** Escapes a text for use in a regular expression. */
export const literally = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
