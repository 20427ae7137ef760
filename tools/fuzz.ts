import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { wholeNumber } from './arguments.ts';
import type { Case, Verdict } from './fuzz/child.ts';
import { KINDS } from './fuzz/kinds.ts';

const usage = `Changes files at random and reads them. The outcome must be a result, or one of our errors: one line of fewer than
500 characters that names the file, within 5 seconds and 1 GB.

  npx tsx tools/fuzz.ts [options]

  --seconds N   default 60
  --seed N      default 0; the same seed changes the same bytes
  --kind NAME   one of ${Object.keys(KINDS).join(', ')}; default all
  --case N      only this case of the kind
  --keep DIR    folder that receives the files that fail`;

const SECONDS_PER_CASE = 5;
const MOST_BYTES = 2 ** 30;

/** A case that failed. */
export interface Failure extends Case {
  complaint: string;
}

/** Options of `fuzz`. */
export interface FuzzOptions {
  seconds: number;
  seed: number;
  kinds: readonly string[];
  /** Only this case. */
  only?: number;
  /** Called after each failure, while the file still exists. */
  onFailure?: (failure: Failure, path: string) => Promise<void>;
}

/** Runs cases of all kinds by turns until the time is over. Returns their number and the failures. */
export async function fuzz(options: FuzzOptions): Promise<{ cases: number; failures: Failure[] }> {
  const { seconds, seed, kinds, only, onFailure } = options;
  const folder = await mkdtemp(join(tmpdir(), 'florence2-fuzz-'));
  const failures: Failure[] = [];
  const end = performance.now() + 1000 * seconds;
  let child: ChildProcess | undefined;
  let base = 0; // memory of a child before its first case of a kind
  let cases = 0;
  try {
    for (let index = only ?? 0; performance.now() < end; index++) {
      for (const kind of kinds) {
        child ??= fork(fileURLToPath(new URL('fuzz/child.ts', import.meta.url)), { execArgv: ['--import', 'tsx'] });
        const task: Case = { kind, index, seed, folder: join(folder, kind) };
        await mkdir(task.folder, { recursive: true });
        const { complaint, file, peakBytes } = await run(child, task, base === 0);
        base ||= peakBytes;
        cases++;
        const problem =
          complaint ?? (peakBytes - base > MOST_BYTES ? `used ${peakBytes - base} bytes of memory` : null);
        if (problem === null) continue;
        failures.push({ ...task, complaint: problem });
        await onFailure?.(failures.at(-1)!, join(task.folder, file));
        if (complaint !== null && child.connected) continue;
        child.kill('SIGKILL');
        [child, base] = [undefined, 0];
      }
      if (only !== undefined) break;
    }
    return { cases, failures };
  } finally {
    child?.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

/** Has a child run a case. Kills it if it takes too long. */
async function run(child: ChildProcess, task: Case, isFirst: boolean): Promise<Verdict> {
  const seconds = SECONDS_PER_CASE + (isFirst ? 25 : 0); // starting a process loads TensorFlow.js
  const ended = new AbortController();
  const failed = (complaint: string): Verdict => {
    child.kill('SIGKILL');
    return { complaint, file: '', peakBytes: 0 };
  };
  const timer = setTimeout(() => ended.abort('time'), 1000 * seconds);
  const onExit = (): void => ended.abort('exit');
  child.once('exit', onExit);
  try {
    child.send(task);
    const [verdict] = await once(child, 'message', { signal: ended.signal });
    return verdict as Verdict;
  } catch {
    return failed(ended.signal.reason === 'time' ? `took more than ${seconds} s` : 'the process died');
  } finally {
    clearTimeout(timer);
    child.off('exit', onExit);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      ...{ seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '0' } },
      ...{ kind: { type: 'string' }, case: { type: 'string' }, keep: { type: 'string' }, help: { type: 'boolean' } },
    },
  });
  if (values.help) return console.log(usage);
  const { cases, failures } = await fuzz({
    seconds: wholeNumber('seconds', values.seconds, 1),
    seed: wholeNumber('seed', values.seed, 0),
    kinds: values.kind === undefined ? Object.keys(KINDS) : [values.kind],
    ...(values.case !== undefined && { only: wholeNumber('case', values.case, 0) }),
    onFailure: async ({ kind, index, seed, complaint }, path) => {
      console.log(`--kind ${kind} --case ${index} --seed ${seed}: ${complaint}`);
      if (values.keep) await copyFile(path, join(values.keep, `${kind}-${seed}-${index}-${basename(path)}`));
    },
  });
  console.log(`${cases} cases, ${failures.length} failures`);
  if (failures.length > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await exitOnError(main);
