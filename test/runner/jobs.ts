import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BACKEND_CHOICES } from '../../src/cli/options.ts';
import type { BackendName } from '../../src/runtime/backend.ts';
import { findBuilds } from '../../src/runtime/builds.ts';
import { swiftshaderEnv } from '../runtime/swiftshader.ts';

export const testFolder = dirname(dirname(fileURLToPath(import.meta.url)));

/** The backends, from a module that does not load TensorFlow.js. */
export const BACKENDS = BACKEND_CHOICES.filter(name => name !== 'auto') as BackendName[];

/** One test file on one backend; without a backend for files that do not import test/backend.ts. */
export interface Job {
  file: string;
  backend?: BackendName;
}

export interface Selection {
  /** Folder with the test files. */
  folder: string;
  /** Include `*.slow.test.ts`, all files on cpu and tensorflow, and webgpu. */
  slow: boolean;
  /** Include the files of LONG, and all files on webgpu. */
  long: boolean;
  /** Only files that need a backend, on this one. */
  backend?: string;
  /** Only files of this group. */
  group?: string;
  /** Only files whose path from the repository's root contains one of these; all files where the list is empty. */
  filters: string[];
}

/** Groups of files for `--group`, by path below test/. */
export const GROUPS: Record<string, RegExp> = {
  browser: /^(image\/decode_browser|inspect\/page|house)\b/,
  cli: /^cli\//,
  data: /^(datasets|evaluation)\//,
  docs: /^(docs|tools)\//,
  files: /^(files|weights|checkpoint|config)\//,
  internals: /^(hooks|activations|internals|inspect)\//,
  model: /^(nn|vision|language|model|generation|image|text|results|geometry|drawing)\//,
  parity: /^parity\//,
  runtime: /^runtime\//,
  training: /^(training|adapters)\//,
};

/** Files that take minutes and rarely fail: they run with `--long` or when a filter or group names them. */
const LONG = ['docs/studies.slow.test.ts', 'parity/check.slow.test.ts'];

/**
 * What cpu runs without `--slow`: layers, and what wasm lacks, gradients of all kinds of weights. Elsewhere it computes
 * what wasm does, only slower.
 */
const QUICK_ON_CPU =
  /^nn\/|^(adapters\/(lora|dora)|generation\/(candidates|sampling)|runtime\/backend|training\/(add_tokens|optimizer))\./;

/**
 * What tensorflow runs only with `--slow`: files, options, drawings and bookkeeping around the network, which depend on no
 * backend. They run on wasm.
 */
const QUICK_ON_WASM =
  /^(checkpoint|adapters)\/(save|write)\.|^training\/(pictures|map_cache|bad_examples|kept_saves|validation)\.|^hooks\/(on_request|scoped_hooks)\.|^(model\/hook_names|generation\/constraint|tiling\/run_tiled|inspect\/collect|export\/export_onnx|parity\/request|internals\/diff\/compare_runs|requests|index)\./;

/**
 * What webgpu runs without `--long`, because a software GPU takes minutes for a file: kernels and layers, gradients, and
 * a model that is loaded, generates, and is compared with PyTorch (parity/check).
 */
const QUICK_ON_WEBGPU = /^(nn|runtime)\/|^(generation\/(candidates|generate)|training\/gradients|parity\/check)\./;

/** Returns the environment of each backend that can be tested here, and why the others cannot. */
export function findBackends(slow: boolean, backend?: string) {
  const found = new Map<BackendName, Record<string, string>>([
    ['cpu', {}],
    ['wasm', {}],
  ]);
  const missing = new Map<BackendName, string>();
  // Two files run at a time, and small products are no faster on two threads.
  if (findBuilds().length > 0) found.set('tensorflow', { TF_NUM_INTRAOP_THREADS: '1' });
  else missing.set('tensorflow', 'not set up: florence2 setup tensorflow');
  const swiftshader = swiftshaderEnv();
  if (!slow && backend !== 'webgpu') missing.set('webgpu', 'part of the slow suite: --slow');
  else if (swiftshader) found.set('webgpu', swiftshader);
  else missing.set('webgpu', 'no SwiftShader driver (Debian and Ubuntu: apt-get install chromium)');
  return { found, missing };
}

/** Returns the jobs of a selection, files in alphabetical order. */
export function findJobs(selection: Selection, backends: Iterable<BackendName>): Job[] {
  const { folder, slow, long, backend, group, filters } = selection;
  const named = filters.length > 0 || group !== undefined;
  const suffix = slow ? /\.test\.ts$/ : /(?<!\.slow)\.test\.ts$/;
  const chosen = [...backends].filter(name => backend === undefined || name === backend);
  const runsOn = (name: BackendName, path: string): boolean => {
    if (backend !== undefined || filters.length > 0) return true;
    if (name === 'cpu') return slow || QUICK_ON_CPU.test(path);
    if (name === 'tensorflow' && !slow && QUICK_ON_WASM.test(path)) return false;
    return name !== 'webgpu' || long || QUICK_ON_WEBGPU.test(path);
  };
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter(file => suffix.test(file))
    .sort()
    .flatMap((name): Job[] => {
      const file = join(folder, name);
      const path = relative(folder, file).replaceAll('\\', '/');
      if (filters.length > 0 && !filters.some(filter => `test/${path}`.includes(filter))) return [];
      if (group !== undefined && !GROUPS[group].test(path)) return [];
      if (!long && !named && LONG.includes(path)) return [];
      if (!importsBackend(file)) return backend === undefined ? [{ file }] : [];
      return chosen.filter(name => runsOn(name, path)).map(name => ({ file, backend: name }));
    });
}

function importsBackend(file: string): boolean {
  const imports = readFileSync(file, 'utf8').matchAll(/(?:from|import) +'([^']+)'/g);
  return [...imports].some(([, path]) => resolve(dirname(file), path!) === join(testFolder, 'backend.ts'));
}
