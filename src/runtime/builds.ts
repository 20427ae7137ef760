import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import envPaths from 'env-paths';

/** What a user can have set up: without CUDA, or with it. */
export type Variant = 'cpu' | 'gpu';

/**
 * A kept TensorFlow, as its folder describes itself. Below the folder:
 *
 *     manifest.json                         this, written last: a folder without it does not count
 *     site/tensorflow/                      the shared libraries, tfjs_binding.node, kernels-….node, stderr.node
 *     site/nvidia/…/lib/                    CUDA's, laid out as pip would, so that TensorFlow's own run path finds them
 *     node_modules/@tensorflow/tfjs-node/   the backend's JavaScript
 *     node_modules/google-protobuf/         which it needs
 *     node_modules/@tensorflow/tfjs/        a stand-in that hands over our copy of TensorFlow.js (see ../tensorflow.ts)
 *     node_modules/@tensorflow/tfjs-core/   the same
 */
export interface TensorflowBuild {
  layout: typeof layoutVersion;
  tensorflow: string;
  variant: Variant;
  tfjsNode: string;
  platform: string;
  arch: string;
  /** Files that it was made of, with their hashes. */
  sources: { file: string; hash: string }[];
  /** CUDA's libraries, name -> version. Empty without CUDA. */
  cuda: Record<string, string>;
}

/** Changes when a folder made by an earlier release of this package cannot be used any more. */
export const layoutVersion = 5;

export const tfjsNodeVersion = '4.22.0';

export const bindingPath = (folder: string) => join(folder, 'site', 'tensorflow', 'tfjs_binding.node');

export const kernelsPath = (folder: string, set: InstructionSet) =>
  join(folder, 'site', 'tensorflow', `kernels-${set}.node`);

export const stderrPath = (folder: string) => join(folder, 'site', 'tensorflow', 'stderr.node');

/** The binding speaks Node-API, which is the same for every Node: no ABI in the key. */
export const buildFolder = (tensorflow: string, variant: Variant) =>
  join(tensorflowRoot(), `${tensorflow}-${variant}-tfjs${tfjsNodeVersion}-${process.platform}-${process.arch}`);

/** The builds kept for this machine's platform: those for its GPU or its lack of one first, then newest TensorFlow first. */
export function findBuilds(): (TensorflowBuild & { folder: string })[] {
  const root = tensorflowRoot();
  if (!existsSync(root)) return [];
  const nvidia = existsSync('/dev/nvidiactl') || existsSync('/dev/dxg'); // the second is WSL's
  const rank = ({ variant }: TensorflowBuild) => Number((variant === 'gpu') !== nvidia);
  return readdirSync(root)
    .map(name => join(root, name))
    .flatMap(folder => readBuild(folder) ?? [])
    .sort((a, b) => rank(a) - rank(b) || compareVersions(b.tensorflow, a.tensorflow));
}

/** The build in a folder, or undefined when there is none that this release and this machine can use. */
export function readBuild(folder: string): (TensorflowBuild & { folder: string }) | undefined {
  const manifest = join(folder, 'manifest.json');
  if (!existsSync(manifest) || !existsSync(bindingPath(folder))) return undefined;
  let build: TensorflowBuild;
  try {
    build = JSON.parse(readFileSync(manifest, 'utf8')) as TensorflowBuild;
  } catch {
    return undefined;
  }
  const usable =
    build.layout === layoutVersion &&
    build.tfjsNode === tfjsNodeVersion &&
    build.platform === process.platform &&
    build.arch === process.arch;
  return usable ? { ...build, folder } : undefined;
}

/** Order of release numbers such as 2.9.1 and 2.21.0. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map(version => version.split('.').map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * The folder where this package keeps what is expensive to get again: outside node_modules, so that `npm ci` spares it.
 * The platform's cache folder for the user, or FLORENCE2_CACHE.
 */
export function cacheRoot(): string {
  return process.env.FLORENCE2_CACHE || envPaths('florence2', { suffix: '' }).cache;
}

/** One folder per kept build of TensorFlow. */
export const tensorflowRoot = () => join(cacheRoot(), 'tensorflow');

/** Files on their way here. A finished setup leaves nothing in it. */
export const downloadRoot = () => join(cacheRoot(), 'downloads');

/** What our kernels are compiled for: each set is an addon of its own, and the machine that loads it chooses. */
export type InstructionSet = 'avx512' | 'avx2' | 'base';

/** Compiler flags of each set that this architecture has. The base of arm64 has vectors and halves. */
export function instructionSets(): Map<InstructionSet, string[]> {
  const sets = new Map<InstructionSet, string[]>([['base', []]]);
  if (process.arch !== 'x64') return sets;
  return sets.set('avx2', ['-mavx2', '-mfma', '-mf16c']).set('avx512', ['-mavx512f', '-mfma', '-mf16c']);
}

/** The best set that this machine's processor has, as far as it tells. */
export function instructionSet(): InstructionSet {
  const file = '/proc/cpuinfo';
  const flags = existsSync(file) ? /^flags\s*:(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1].split(' ') : undefined;
  const has = (...names: string[]) => process.arch === 'x64' && names.every(name => flags?.includes(name));
  if (has('avx512f', 'fma', 'f16c')) return 'avx512';
  return has('avx2', 'fma', 'f16c') ? 'avx2' : 'base';
}
