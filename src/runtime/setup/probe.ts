import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BackendName } from '../backend.ts';

/** What became of one backend, tried in a process of its own. */
export interface Probe {
  /** The backend that was asked for. */
  name: BackendName | 'auto';
  /** The one that `auto` took. */
  chosen?: BackendName;
  works: boolean;
  /** What it is when it works, why it does not otherwise. */
  description: string;
  /** From the start of the process to the first result. */
  seconds: number;
}

/** What the child says. */
export type Answer = Pick<Probe, 'works' | 'description' | 'chosen'>;

/** Marks the child's answer among whatever else a driver prints. */
export const answerMark = 'florence2-probe:';

/** Starts one backend in a child process and has it multiply: a crash there is an answer here. */
export function probeBackend(
  name: BackendName | 'auto',
  env: NodeJS.ProcessEnv = {},
  timeout = 60_000,
): Promise<Probe> {
  const started = performance.now();
  // The child runs the same kind of file as this one: .js when built, .ts under a loader, which execArgv carries over.
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
        const { works, description, chosen } = JSON.parse(answer.slice(answerMark.length)) as Answer;
        return finish(works, description, chosen);
      }
      const late = signal === 'SIGKILL' && performance.now() - started >= timeout;
      const end = late ? `no answer after ${timeout / 1000} s` : `the process died (${signal ?? `code ${code}`})`;
      const last = errors.trim().split('\n').pop();
      finish(false, last ? `${end}: ${last}` : end);
    });
  });
}
