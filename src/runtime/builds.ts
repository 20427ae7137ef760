/**
 * The TensorFlow builds that `florence2 setup tensorflow` keeps in the user's cache folder: where they are, which of
 * them this machine can use, and the instruction sets that their kernels are compiled for.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import envPaths from 'env-paths';

/**
 * Returns the cache folder: FLORENCE2_CACHE or the platform's default. `npm ci` keeps it: it is outside node_modules.
 */
export function cacheRoot(): string {
  return process.env.FLORENCE2_CACHE || envPaths('florence2', { suffix: '' }).cache;
}

/** Returns the folder of downloads, which a successful setup deletes. */
export const downloadRoot = () => join(cacheRoot(), 'downloads');

/** One folder per build. */
const tensorflowRoot = () => join(cacheRoot(), 'tensorflow');

/** TensorFlow without CUDA (`cpu`) or with it (`gpu`). */
export type Variant = 'cpu' | 'gpu';

/**
 * Returns the folder of a build. Releases of this package with different layouts keep their builds side by side. The
 * name has no Node version, because the binding's Node-API works with all of them.
 */
export const buildFolder = (tensorflow: string, variant: Variant) =>
  join(
    tensorflowRoot(),
    `${tensorflow}-${variant}-tfjs${TFJS_NODE_VERSION}-${process.platform}-${process.arch}-${LAYOUT_VERSION}`,
  );

/**
 * manifest.json of a build. The build's folder contains:
 *
 *     manifest.json                         written last: a folder without it is ignored
 *     site/tensorflow/                      shared libraries, tfjs_binding.node, kernels-….node, stderr.node
 *     site/nvidia/…/lib/                    CUDA's libraries where pip puts them, so that TensorFlow finds them
 *     node_modules/@tensorflow/tfjs-node/   the backend's JavaScript
 *     node_modules/google-protobuf/         its dependency
 *     node_modules/@tensorflow/tfjs/        a stand-in that exports our copy of TensorFlow.js (see tensorflow.ts)
 *     node_modules/@tensorflow/tfjs-core/   the same
 */
export interface TensorflowBuild {
  layout: typeof LAYOUT_VERSION;
  tensorflow: string;
  variant: Variant;
  tfjsNode: string;
  platform: string;
  arch: string;
  /** The downloaded wheels and packages, with their hashes. */
  sources: { file: string; hash: string }[];
  /** Versions of CUDA's libraries by name. Empty without CUDA. */
  cuda: Record<string, string>;
}

/** Increased when builds of earlier releases of this package become unusable. */
export const LAYOUT_VERSION = 7;

export const TFJS_NODE_VERSION = '4.22.0';

export const bindingPath = (folder: string) => join(folder, 'site', 'tensorflow', 'tfjs_binding.node');

export const kernelsPath = (folder: string, set: InstructionSet) =>
  join(folder, 'site', 'tensorflow', `kernels-${set}.node`);

export const stderrPath = (folder: string) => join(folder, 'site', 'tensorflow', 'stderr.node');

/** Returns this machine's usable builds: those that match its GPU (or lack of one) first, then by newest TensorFlow. */
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

/** Returns the build in a folder, or undefined if it has none that this release can use on this machine. */
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
    build.layout === LAYOUT_VERSION &&
    build.tfjsNode === TFJS_NODE_VERSION &&
    build.platform === process.platform &&
    build.arch === process.arch;
  return usable ? { ...build, folder } : undefined;
}

/** Orders release numbers such as 2.9.1 and 2.21.0, as a `sort` callback does. */
export function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map(version => version.split('.').map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The instruction sets that our kernels are compiled for, one addon each. The machine that loads them chooses. */
export type InstructionSet = 'avx512' | 'avx2' | 'base';

/** Returns the compiler flags of each set that this architecture has. The base of arm64 includes vectors and fp16. */
export function instructionSets(): Map<InstructionSet, string[]> {
  const sets = new Map<InstructionSet, string[]>([['base', []]]);
  if (process.arch !== 'x64') return sets;
  return sets.set('avx2', ['-mavx2', '-mfma', '-mf16c']).set('avx512', ['-mavx512f', '-mfma', '-mf16c']);
}

/** Returns the best instruction set of this machine's processor, according to /proc/cpuinfo. */
export function instructionSet(): InstructionSet {
  const file = '/proc/cpuinfo';
  const flags = existsSync(file) ? /^flags\s*:(.*)$/m.exec(readFileSync(file, 'utf8'))?.[1].split(' ') : undefined;
  const has = (...names: string[]) => process.arch === 'x64' && names.every(name => flags?.includes(name));
  if (has('avx512f', 'fma', 'f16c')) return 'avx512';
  return has('avx2', 'fma', 'f16c') ? 'avx2' : 'base';
}
