import { exitOnError } from '../../src/cli/exit.ts';
import { createProgram } from '../../src/cli/program.ts';

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the command line in this process, and returns its output and exit code. */
export async function florence2(...args: string[]): Promise<Outcome> {
  const outcome = { code: 0, stdout: '', stderr: '' };
  const streams = ['stdout', 'stderr'] as const;
  const originals = streams.map(name => process[name].write);
  for (const name of streams) {
    process[name].write = (text: string | Uint8Array) => {
      outcome[name] += text;
      return true;
    };
  }
  try {
    await exitOnError(() => createProgram().parseAsync(args, { from: 'user' }));
    outcome.code = Number(process.exitCode ?? 0);
  } finally {
    streams.forEach((name, i) => {
      process[name].write = originals[i];
    });
    process.exitCode = 0;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(signal); // the command normally ends with its process
  }
  return outcome;
}
