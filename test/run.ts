/**
 * Runs the tests, each file in a process of its own, two at a time:
 *
 *     npx tsx test/run.ts [--slow] [--backend NAME] [--jobs N] [--minutes N] [--folder DIR] [FILTER…]
 *
 * Files that import test/backend.ts run once for each backend found: cpu (where it is not too slow) and wasm, tensorflow
 * where it is set up. --slow adds the files named *.slow.test.ts, all files on cpu, and webgpu over SwiftShader where that
 * is installed. --backend runs only files of backends, on that one. --minutes ends a file that takes longer. --folder
 * looks for files elsewhere. A filter is a part of the file's path.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { type BackendName, backendNames } from '../src/runtime/backend.ts';
import { findBuilds } from '../src/runtime/builds.ts';
import { swiftshaderEnv } from './runtime/swiftshader.ts';

const testFolder = dirname(fileURLToPath(import.meta.url));
const root = dirname(testFolder);
const minutes = 60_000;

/** One file on one backend, or on none. */
interface Job {
  file: string;
  backend?: BackendName;
}
interface Outcome extends Job {
  passed: number;
  failed: number;
  skipped: number;
  seconds: number;
  /** What is wrong apart from failed tests: a crash, no test at all, too long. */
  problem?: string;
  output: string;
}

const { values: options, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: {
    slow: { type: 'boolean', default: false },
    backend: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    folder: { type: 'string', default: testFolder },
    minutes: { type: 'string' },
  },
});

/** Environment per backend that can be tested here; for the others, why not. */
function findBackends(): { found: Map<BackendName, Record<string, string>>; missing: Map<BackendName, string> } {
  const found = new Map<BackendName, Record<string, string>>([
    ['cpu', {}],
    ['wasm', {}],
  ]);
  const missing = new Map<BackendName, string>();
  // Two files run at a time, and small products are no faster on two threads.
  if (findBuilds().length > 0) found.set('tensorflow', { TF_NUM_INTRAOP_THREADS: '1' });
  else missing.set('tensorflow', 'not set up: florence2 setup tensorflow');
  const swiftshader = swiftshaderEnv();
  if (!options.slow && options.backend !== 'webgpu') missing.set('webgpu', 'part of the slow suite: --slow');
  else if (swiftshader) found.set('webgpu', swiftshader);
  else missing.set('webgpu', 'no SwiftShader driver (Debian and Ubuntu: apt-get install chromium)');
  return { found, missing };
}

function findFiles(): string[] {
  const suffix = options.slow ? /\.test\.ts$/ : /(?<!\.slow)\.test\.ts$/;
  return readdirSync(options.folder, { recursive: true, encoding: 'utf8' })
    .filter(file => suffix.test(file))
    .map(file => join(options.folder, file))
    .filter(file => filters.length === 0 || filters.some(filter => file.includes(filter)))
    .sort();
}

function importsBackend(file: string): boolean {
  const imports = readFileSync(file, 'utf8').matchAll(/(?:from|import) +'([^']+)'/g);
  return [...imports].some(([, path]) => resolve(dirname(file), path!) === join(testFolder, 'backend.ts'));
}

/** What takes plain JavaScript more than some ten seconds: on the cpu backend it is part of the slow suite. */
// biome-ignore format: a list of files
const SLOW_ON_CPU = [
  'activations/cache', 'adapters/adapters', 'florence2', 'generation/reference', 'hooks/hooks', 'inspect/collect',
  'internals/ablation', 'internals/attention_maps', 'internals/diff/compare_runs', 'internals/feature_reader',
  'internals/gradients_at', 'internals/patching', 'internals/question', 'internals/saliency', 'parity/check',
  'parity/request', 'parity/training', 'training/dropout', 'training/gradients', 'training/map_cache',
  'training/resume', 'training/train_step', 'training/trainable', 'training/trainer',
];
const slowOnCpu = (file: string): boolean =>
  SLOW_ON_CPU.includes(
    relative(testFolder, file)
      .replaceAll('\\', '/')
      .replace(/\.test\.ts$/, ''),
  );

/** Whole trainings take long on a software GPU: there they run when webgpu is asked for by name. */
function trainsForLong(file: string): boolean {
  const short = /(adapters[\\/]reference|training[\\/](optimizer|dropout|gradients|train_step|trainable))\.test\.ts$/;
  return /^(training|adapters)[\\/]|parity[\\/]training/.test(relative(testFolder, file)) && !short.test(file);
}

const running = new Set<() => void>();

function run(job: Job, env: Record<string, string>): Promise<Outcome> {
  const started = performance.now();
  const usual = job.file.endsWith('.slow.test.ts') || job.backend === 'webgpu' ? 40 : 4;
  const limit = Number(options.minutes ?? usual) * minutes;
  const child = spawn(process.execPath, ['--import', 'tsx', job.file], {
    cwd: root,
    detached: true, // a group of its own, so that whatever a test starts ends with it
    env: { ...process.env, NO_COLOR: '1', ...env, ...(job.backend && { FLORENCE2_TEST_BACKEND: job.backend }) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {} // gone already
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
  }, limit);
  return new Promise(done => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(kill);
      const seconds = (performance.now() - started) / 1000;
      const counts = readCounts(output);
      const problem = late ? `took more than ${limit / minutes} minutes` : problemOf(counts, code, signal);
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

function report(outcome: Outcome): void {
  const { file, backend, passed, failed, skipped, seconds, problem, output } = outcome;
  const bad = problem !== undefined || failed > 0;
  const counts = [`${passed} passed`, failed && `${failed} failed`, skipped && `${skipped} skipped`, problem];
  const name = relative(options.folder, file) + (backend ? ` [${backend}]` : '');
  console.log(`${bad ? '✗' : '✓'} ${name.padEnd(56)} ${counts.filter(Boolean).join(', ')}  (${seconds.toFixed(1)} s)`);
  if (bad) console.log(`\n${output.trim().replace(/^/gm, '    ')}\n`);
}

const failures = ({ failed, problem }: Outcome) => failed + (problem ? 1 : 0);

function summarise(outcomes: Outcome[], missing: Map<BackendName, string>): void {
  const row = (...cells: unknown[]) =>
    console.log(cells.map((cell, i) => (i ? String(cell).padStart(8) : String(cell).padEnd(12))).join(' '));
  const sum = (list: Outcome[], of: (outcome: Outcome) => number) => list.reduce((all, one) => all + of(one), 0);
  console.log();
  row('backend', 'files', 'passed', 'failed', 'skipped', 'seconds');
  for (const backend of [undefined, ...backendNames]) {
    const list = outcomes.filter(outcome => outcome.backend === backend);
    const counts = [sum(list, o => o.passed), sum(list, failures), sum(list, o => o.skipped)];
    if (list.length > 0) row(backend ?? '(none)', list.length, ...counts, sum(list, o => o.seconds).toFixed(1));
    else if (backend && missing.has(backend)) console.log(`${backend.padEnd(12)} not run: ${missing.get(backend)}`);
  }
  const [passed, failed, skipped] = [
    sum(outcomes, o => o.passed),
    sum(outcomes, failures),
    sum(outcomes, o => o.skipped),
  ];
  console.log(`\n${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`);
}

async function main(): Promise<boolean> {
  const { found, missing } = findBackends();
  if (options.backend !== undefined && !found.has(options.backend as BackendName)) {
    const reason =
      missing.get(options.backend as BackendName) ?? `there is no such backend (${backendNames.join(', ')})`;
    console.error(`--backend ${options.backend}: ${reason}`);
    return false;
  }
  const chosen = [...found.keys()].filter(backend => !options.backend || backend === options.backend);
  const jobs = findFiles().flatMap((file): Job[] => {
    const able = chosen.filter(backend => {
      if (options.backend || filters.length > 0) return true;
      if (backend === 'cpu') return options.slow || !slowOnCpu(file);
      return backend !== 'webgpu' || !trainsForLong(file);
    });
    if (importsBackend(file)) return able.map(backend => ({ file, backend }));
    return options.backend ? [] : [{ file }];
  });
  if (jobs.length === 0) {
    console.error('No test file matches.');
    return false;
  }
  const outcomes: Outcome[] = [];
  const queue = [...jobs];
  const worker = async () => {
    for (let job = queue.shift(); job; job = queue.shift()) {
      const outcome = await run(job, job.backend ? found.get(job.backend)! : {});
      outcomes.push(outcome);
      report(outcome);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(options.jobs) || 1) }, worker));
  summarise(outcomes, missing);
  return outcomes.every(outcome => failures(outcome) === 0);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    for (const kill of running) kill();
    process.exit(130);
  });
}
process.exitCode = (await main()) ? 0 : 1;
