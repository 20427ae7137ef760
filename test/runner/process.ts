import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { type Job, testFolder } from './jobs.ts';

const MINUTES = 60_000;

export interface Outcome extends Job {
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  /** What went wrong apart from failed tests: a crash, no test at all, a timeout. */
  problem?: string;
  /** stdout and stderr together. */
  output: string;
}

const running = new Set<() => void>();

/** Kills every test process and what it started. */
export function killAll(): void {
  for (const kill of running) kill();
}

/** Runs one file in its own process, and kills it after `minutes`. */
export function runJob(job: Job, env: Record<string, string>, minutes: number): Promise<Outcome> {
  const started = performance.now();
  const child = spawn(process.execPath, ['--import', 'tsx', job.file], {
    cwd: dirname(testFolder),
    detached: true, // its own process group, so that its children are killed with it
    env: { ...process.env, NO_COLOR: '1', ...env, ...(job.backend && { FLORENCE2_TEST_BACKEND: job.backend }) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {} // already ended
  };
  running.add(kill);
  let output = '';
  let late = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', text => {
      output += text;
    });
  }
  const timer = setTimeout(() => {
    late = true;
    kill();
  }, minutes * MINUTES);
  return new Promise(done => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(kill);
      const seconds = (performance.now() - started) / 1000;
      const counts = readCounts(output);
      const problem = late ? `took more than ${minutes} minutes` : problemOf(counts, code, signal);
      done({ ...job, ...counts, seconds, output, ...(problem && { problem }) });
    });
  });
}

/** Adds up the summaries that uvu prints. */
function readCounts(output: string): { total: number; passed: number; failed: number; skipped: number } {
  const sum = (label: string) =>
    [...stripVTControlCharacters(output).matchAll(new RegExp(`^ +${label}: +(\\d+)`, 'gm'))].reduce(
      (all, [, count]) => all + Number(count),
      0,
    );
  const [total, passed, skipped] = [sum('Total'), sum('Passed'), sum('Skipped')];
  return { total, passed, failed: total - passed, skipped };
}

function problemOf(counts: ReturnType<typeof readCounts>, code: number | null, signal: string | null) {
  if (signal) return `killed by ${signal}`;
  if (counts.total + counts.skipped === 0)
    return code === 0 ? 'ran no test' : `ended with code ${code} and ran no test`;
  if (code !== 0 && counts.failed === 0) return `ended with code ${code} though its tests passed`;
  return undefined;
}
