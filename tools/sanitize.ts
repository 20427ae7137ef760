import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { exitOnError } from '../src/cli/exit.ts';
import { Florence2Error } from '../src/errors.ts';
import { instructionSet, instructionSets } from '../src/runtime/builds.ts';
import { findCompiler } from '../src/runtime/setup/compiler.ts';
import { wholeNumber } from './arguments.ts';

const usage = `Compiles the kernels of src/runtime/kernels with sanitizers and calls them with random sizes and changed programs.
Needs a C++ compiler with its sanitizers, but no TensorFlow: tools/sanitize/tensorflow.h stands in for it.

  npx tsx tools/sanitize.ts [options]

  --seconds N   of each run, default 20
  --seed N      default 0`;

interface Run {
  /** Of the compiler. */
  flags: string[];
  /** Starts the program. */
  shell?: string;
  env?: NodeJS.ProcessEnv;
  /** Whether to start and use the threads once, instead of for a time. */
  once?: boolean;
}

const RUNS: Record<string, Run> = {
  'addresses and undefined behaviour': {
    flags: ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-g', '-O1'],
    env: { ASAN_OPTIONS: 'detect_leaks=0' }, // the team's threads never end
  },
  // Addresses without randomness, which older versions of the thread sanitizer need.
  threads: { flags: ['-fsanitize=thread', '-g', '-O1'], shell: 'exec setarch -R "$@"' },
  'threads that do not start': {
    flags: ['-O1'],
    shell: 'ulimit -v 500000; exec "$@"', // each thread reserves 8 MB
    env: { TF_NUM_INTRAOP_THREADS: '1000' },
    once: true,
  },
};

const kernels = fileURLToPath(new URL('../src/runtime/kernels', import.meta.url));
const own = fileURLToPath(new URL('sanitize', import.meta.url));

/** Compiles the kernels with the stand-in for TensorFlow, and returns the path of the program. */
async function compile(folder: string, flags: readonly string[]): Promise<string> {
  for (const header of ['kernels', 'ops', 'tf_datatype', 'tf_status', 'tf_tensor']) {
    const path = join(folder, 'tensorflow/c', `${header}.h`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `#include "${join(own, 'tensorflow.h')}"\n`);
  }
  const names = readdirSync(kernels).filter(name => name.endsWith('.cc') && name !== 'addon.cc');
  const sources = [...names.map(name => join(kernels, name)), join(own, 'main.cc')];
  const program = join(folder, 'main');
  const [command, ...rest] = await findCompiler();
  const set = instructionSets().get(instructionSet()) ?? [];
  const options = ['-std=c++17', '-pthread', ...set, ...flags, `-I${folder}`, `-I${kernels}`];
  const { status, stderr } = spawnSync(command, [...rest, ...options, ...sources, '-o', program], { encoding: 'utf8' });
  if (status !== 0) throw new Florence2Error(`The kernels do not compile: ${stderr}`, { code: 'SETUP' });
  return program;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '20' },
      seed: { type: 'string', default: '0' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return console.log(usage);
  const [seconds, seed] = [wholeNumber('seconds', values.seconds, 1), wholeNumber('seed', values.seed, 0)];
  const folder = mkdtempSync(join(tmpdir(), 'florence2-sanitize-'));
  try {
    const file = join(folder, 'weights');
    writeFileSync(file, new Uint8Array(4096).fill(60));
    for (const [name, { flags, shell = 'exec "$@"', env, once }] of Object.entries(RUNS)) {
      console.log(`${name}: ${flags.join(' ')}`);
      const call = [await compile(folder, flags), String(once ? 0 : seconds), String(seed), file];
      const { status, signal } = spawnSync('/bin/sh', ['-c', shell, 'sh', ...call], {
        stdio: 'inherit',
        env: { ...process.env, TF_NUM_INTRAOP_THREADS: '2', ...env },
      });
      if (status !== 0)
        throw new Florence2Error(`${name}: the run ended with ${signal ?? status}.`, { code: 'BACKEND' });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await exitOnError(main);
