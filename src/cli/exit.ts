import { CommanderError } from 'commander';
import { Florence2Error, UsageError } from '../errors.ts';
import { systemReason } from '../files/errors.ts';

/**
 * Runs the command line. Errors for people are one line on stderr: exit code 2 where the call was wrong, else 1.
 * Anything else is a bug and shows its stack.
 */
export async function exitOnError(run: () => Promise<unknown>): Promise<void> {
  // A reader that has seen enough (`florence2 … | head`) closes the pipe; that is no error.
  if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', endWithReader);
  try {
    await run();
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else process.exitCode = printError(error);
  }
}

function endWithReader(error: NodeJS.ErrnoException): never {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
}

/** Prints an error; returns the exit code. */
export function printError(error: unknown): number {
  process.stderr.write(`florence2: ${describe(error)}\n`);
  return error instanceof UsageError || isParseArgsError(error) ? 2 : 1;
}

/** An argument that `util.parseArgs` does not know. */
const isParseArgsError = (error: unknown): error is Error =>
  error instanceof Error && String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS');

/** One line for an error that a user can act on, the stack of any other. */
export function describe(error: unknown): string {
  if (error instanceof Florence2Error || isParseArgsError(error)) return error.message;
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'AbortError') return 'Interrupted.';
  const { code, path } = error as NodeJS.ErrnoException;
  const reason = systemReason(error);
  if (reason) return `${path ?? 'A file'}: ${reason} (${code}).`;
  return `This is a bug, please report it.\n${error.stack}`;
}

/** Aborts at the first Ctrl-C, so that work in progress can end cleanly; another one ends the process at once. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  let anotherEnds = false;
  process.on('SIGINT', () => {
    if (anotherEnds) process.exit(130);
    controller.abort();
    // Wrappers (npx, tsx) pass on the signal that the terminal sent to all of them: the same one, heard twice or more. It
    // may have waited behind a long step, so it is looked for once more (setImmediate) before another one is believed.
    const believe = () => {
      anotherEnds = true;
    };
    setTimeout(() => setImmediate(believe), 500).unref();
  });
  return controller.signal;
}
