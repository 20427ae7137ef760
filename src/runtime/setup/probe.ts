import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BackendName } from '../backend.ts';

/** The result of starting a backend in a separate process. */
export interface Probe {
  /** The requested backend. */
  name: BackendName | 'auto';
  /** The backend that `auto` chose. */
  chosen?: BackendName;
  works: boolean;
  /** The backend's description if it works, else the reason why not. */
  description: string;
  /** Seconds from the start of the process to the first result. */
  seconds: number;
}

/** The child process's answer. */
export type ProbeOutcome = Pick<Probe, 'works' | 'description' | 'chosen'>;

/** Starts the line of the child's answer: drivers may print other lines. */
export const answerMark = 'florence2-probe:';

/** Starts a backend in a child process and computes a small product. A crash of the child is reported as a result. */
export function probeBackend(
  name: BackendName | 'auto',
  env: NodeJS.ProcessEnv = {},
  timeout = 60_000,
): Promise<Probe> {
  const started = performance.now();
  // The child has this file's extension: .js when built, .ts under a loader, which execArgv passes on.
  const script = fileURLToPath(new URL(`./probe_child${extname(import.meta.url)}`, import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, script, name], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout,
    killSignal: 'SIGKILL',
  });
  let [output, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', text => (output += text));
  child.stderr.setEncoding('utf8').on('data', text => (errors += text));
  return new Promise(resolve => {
    const finish = (works: boolean, description: string, chosen?: BackendName) => {
      const seconds = (performance.now() - started) / 1000;
      resolve({ name, works, description, seconds, ...(chosen && { chosen }) });
    };
    child.on('error', error => finish(false, error.message));
    child.on('close', (code, signal) => {
      const answer = output.split('\n').find(line => line.startsWith(answerMark));
      if (answer !== undefined) {
        const { works, description, chosen } = JSON.parse(answer.slice(answerMark.length)) as ProbeOutcome;
        return finish(works, description, chosen);
      }
      const late = signal === 'SIGKILL' && performance.now() - started >= timeout;
      const end = late ? `no answer after ${timeout / 1000} s` : `the process died (${signal ?? `code ${code}`})`;
      const last = errors.trim().split('\n').pop();
      finish(false, last ? `${end}: ${last}` : end);
    });
  });
}
