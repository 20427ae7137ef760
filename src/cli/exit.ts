import { CommanderError } from 'commander';
import { Florence2Error, UsageError } from '../errors.ts';
import { systemReason, writeError } from '../files/errors.ts';
import { printProblem, printWarning } from './print/terminal.ts';

/**
 * Runs the command line and turns errors into exit codes. A Florence2Error is one line on stderr; a wrong call has exit
 * code 2, Ctrl-C has 130 (see `interruptSignal`), other errors have 1. Any other error is a bug and is printed with its stack.
 */
export async function exitOnError(run: () => Promise<unknown>): Promise<void> {
  // `florence2 … | head` closes the pipe early, which is not an error.
  if (!process.stdout.listeners('error').includes(endWithReader)) process.stdout.on('error', endWithReader);
  const { warn } = console;
  console.warn = printWarning;
  try {
    await run();
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else process.exitCode = printError(error);
  } finally {
    console.warn = warn;
  }
}

function endWithReader(error: NodeJS.ErrnoException): never {
  if (error.code === 'EPIPE') process.exit(0);
  printProblem(describe(writeError('Standard output', error)));
  process.exit(1);
}

/** Prints an error and returns the exit code. */
export function printError(error: unknown): number {
  printProblem(describe(error));
  if (isAbort(error)) return stoppedCode();
  return error instanceof UsageError || isParseArgsError(error) ? 2 : 1;
}

/** True for the error of work that was ended by a signal, see `interruptSignal`. */
const isAbort = (error: unknown): boolean => error instanceof Error && error.name === 'AbortError';

/** Prints how many images of a run failed, if any, and sets the exit code to 1. */
export function reportFailures(failed: number, total: number): void {
  if (failed === 0) return;
  printProblem(`${failed} of ${total} images failed.`);
  process.exitCode = 1;
}

/** True for the errors of `util.parseArgs`, e.g. about an unknown option. */
const isParseArgsError = (error: unknown): error is Error =>
  error instanceof Error && String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS');

/** Returns one line for an error that a user can act on, and the stack of any other error. */
export function describe(error: unknown): string {
  if (error instanceof Florence2Error || isParseArgsError(error)) return error.message;
  if (!(error instanceof Error)) return String(error);
  if (isAbort(error)) return 'Interrupted.';
  const { code, path } = error as NodeJS.ErrnoException;
  const reason = systemReason(error);
  if (reason) return `${path ?? 'A file'}: ${reason} (${code}).`;
  return `This is a bug, please report it.\n${error.stack}`;
}

/** The signals that end a command, with the shell's exit codes, so that `florence2 … && …` stops too. */
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** The signal that this process was stopped by. */
let stoppedBy: keyof typeof SIGNALS | undefined;

/** Returns the exit code of a command that ended early because its signal was aborted. */
export const stoppedCode = (): number => SIGNALS[stoppedBy ?? 'SIGINT'];

/**
 * Returns a signal that the first Ctrl-C aborts, so that the current work can end cleanly. So do SIGTERM (from `kill`,
 * containers and batch systems) and SIGHUP (from a closed terminal). A second one ends the process immediately.
 */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  let secondEnds = false;
  const stop = (name: keyof typeof SIGNALS): void => {
    if (secondEnds) process.exit(SIGNALS[name]);
    stoppedBy = name;
    // A closed terminal fails every write, which must not end the work before it is saved.
    if (name === 'SIGHUP') for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
    controller.abort();
    // Wrappers (npx, tsx) forward the signal that the terminal has sent to this process too, so one Ctrl-C may arrive
    // several times. Copies that arrived during a long step are handled before setImmediate runs.
    const startCounting = () => {
      secondEnds = true;
    };
    setTimeout(() => setImmediate(startCounting), 500).unref();
  };
  for (const name of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) process.on(name, () => stop(name));
  return controller.signal;
}
