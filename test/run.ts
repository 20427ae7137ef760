/**
 * Runs the tests, each file in its own process:
 *
 *     npx tsx test/run.ts [--slow] [--long] [--skip-passed] [--group NAME] [--backend NAME] [--jobs N] [--minutes N]
 *                         [--folder DIR] [FILTER…]
 *
 * Files that import test/backend.ts run once for each backend found: wasm, cpu (layers, and what wasm lacks) and, where it is
 * set up, tensorflow.
 *
 * --slow         also the files named *.slow.test.ts, all files on cpu, and webgpu over SwiftShader where it is installed:
 *                kernels, layers, gradients, and a model compared with PyTorch
 * --long         also files that take minutes and rarely fail, and all files on webgpu
 * --skip-passed  without the files that passed in a run without --slow, on the same backend and the same sources
 * --group        only one group: browser, cli, data, docs, files, internals, model, parity, runtime, training
 * --backend      only files that need a backend, on this one
 * --jobs         files that run at the same time (default 2)
 * --minutes      time limit of a file (default 4; 40 for slow files and on webgpu)
 * --folder       folder with the test files (default: this one)
 * FILTER         part of a file's path
 */
import { parseArgs } from 'node:util';
import type { BackendName } from '../src/runtime/backend.ts';
import { BACKENDS, findBackends, findJobs, GROUPS, type Job, testFolder } from './runner/jobs.ts';
import { PassedJobs } from './runner/passed.ts';
import { killAll, type Outcome, runJob } from './runner/process.ts';
import { failures, printOutcome, printSummary } from './runner/report.ts';

const { values: options, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: {
    slow: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    'skip-passed': { type: 'boolean', default: false },
    group: { type: 'string' },
    backend: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    folder: { type: 'string', default: testFolder },
    minutes: { type: 'string' },
  },
});

const minutesOf = ({ file, backend }: Job): number =>
  Number(options.minutes ?? (file.endsWith('.slow.test.ts') || backend === 'webgpu' ? 40 : 4));

async function main(): Promise<boolean> {
  const { slow, group, folder } = options;
  const backend = options.backend as BackendName | undefined;
  const { found, missing } = findBackends(slow, backend);
  if (backend !== undefined && !found.has(backend)) {
    const reason = missing.get(backend) ?? `there is no such backend (${BACKENDS.join(', ')})`;
    console.error(`--backend ${backend}: ${reason}`);
    return false;
  }
  if (group !== undefined && !(group in GROUPS)) {
    console.error(`--group ${group}: there is no such group (${Object.keys(GROUPS).join(', ')})`);
    return false;
  }
  const jobs = findJobs({ ...options, filters }, found.keys());
  if (jobs.length === 0) {
    console.error('No test file matches.');
    return false;
  }
  const passed = folder === testFolder ? new PassedJobs([...found.keys()]) : undefined;
  const queue = jobs.filter(job => !(options['skip-passed'] && passed?.has(job)));
  if (queue.length < jobs.length) {
    console.log(
      `${jobs.length - queue.length} of ${jobs.length} files passed in npm test on these sources: not repeated.`,
    );
  }
  const outcomes: Outcome[] = [];
  const worker = async () => {
    for (let job = queue.shift(); job; job = queue.shift()) {
      const outcome = await runJob(job, job.backend ? found.get(job.backend)! : {}, minutesOf(job));
      outcomes.push(outcome);
      printOutcome(outcome, folder);
      if (!slow && failures(outcome) === 0) passed?.add(job);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(options.jobs) || 1) }, worker));
  if (!slow) passed?.save();
  printSummary(outcomes, folder, missing);
  return outcomes.every(outcome => failures(outcome) === 0);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    killAll();
    process.exit(130);
  });
}
process.exitCode = (await main()) ? 0 : 1;
