import { existsSync, readFileSync } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { cpus, freemem, homedir, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { BACKEND_NAMES } from '../backend.ts';
import { cacheRoot, findBuilds, type TensorflowBuild } from '../builds.ts';
import { type ProductTimes, readProductTimes } from '../product_times.ts';
import { findCompiler } from './compiler.ts';
import { thisMachine } from './machine.ts';
import { type Probe, probeBackend } from './probe.ts';

/** What a bug report should contain: versions, machine, backends, caches. */
export interface Diagnosis {
  package: string;
  tfjs: string;
  node: string;
  system: {
    platform: string;
    arch: string;
    release: string;
    glibc?: string;
    cpu: string;
    cores: number;
    /** Bytes. */
    memory: { total: number; free: number };
    nvidiaDriver?: string;
    compiler: string;
  };
  /** The result of starting each backend in a separate process. */
  backends: Probe[];
  /** The result of `--backend auto`. */
  auto: Probe;
  /** The builds of `florence2 setup tensorflow`. */
  tensorflow: (Pick<TensorflowBuild, 'tensorflow' | 'variant' | 'cuda'> & { folder: string; bytes: number })[];
  /** Times of matrix products on this processor, measured by the setup; null before. */
  products: ProductTimes | null;
  caches: { name: string; folder: string; exists: boolean; bytes: number }[];
}

/** Collects facts about the machine and starts every backend. Takes some seconds and changes nothing. */
export async function diagnose(): Promise<Diagnosis> {
  const backends: Probe[] = [];
  // Sequentially, so that the backends do not slow each other down and the times are comparable.
  for (const name of BACKEND_NAMES) backends.push(await probeBackend(name));
  const require = createRequire(import.meta.url);
  return {
    package: require('../../../package.json').version,
    tfjs: require('@tensorflow/tfjs/package.json').version,
    node: process.version,
    system: await describeSystem(),
    backends,
    auto: await probeBackend('auto'),
    tensorflow: await Promise.all(
      findBuilds().map(async ({ tensorflow, variant, cuda, folder }) => {
        return { tensorflow, variant, cuda, folder, bytes: await sizeOf(folder) };
      }),
    ),
    products: readProductTimes() ?? null,
    caches: await Promise.all([describeCache('florence2', cacheRoot()), describeCache('Hugging Face', hubCache())]),
  };
}

async function describeSystem(): Promise<Diagnosis['system']> {
  const { platform, arch, glibc } = thisMachine();
  const driver = nvidiaDriver();
  return {
    platform,
    arch,
    release: release(),
    ...(glibc !== undefined && { glibc }),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memory: { total: totalmem(), free: freemem() },
    ...(driver !== undefined && { nvidiaDriver: driver }),
    compiler: await findCompiler().then(
      command => command.join(' '),
      () => 'none',
    ),
  };
}

/** Returns the version of NVIDIA's kernel module, if it is loaded. */
function nvidiaDriver(): string | undefined {
  const file = '/proc/driver/nvidia/version';
  if (!existsSync(file)) return undefined;
  return /\s(\d+\.\d+(?:\.\d+)*)\s/.exec(readFileSync(file, 'utf8'))?.[1] ?? 'unknown';
}

/** Returns the cache folder of @huggingface/hub. */
function hubCache(): string {
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env;
  const home = HF_HOME || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  return HF_HUB_CACHE || HUGGINGFACE_HUB_CACHE || join(home, 'hub');
}

async function describeCache(name: string, folder: string): Promise<Diagnosis['caches'][number]> {
  return { name, folder, exists: existsSync(folder), bytes: await sizeOf(folder) };
}

/** Returns the total size of all files in a folder, in bytes. Does not follow links; ignores unreadable folders. */
async function sizeOf(path: string): Promise<number> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats?.isDirectory()) return stats?.size ?? 0;
  const names = await readdir(path).catch(() => []);
  let sum = 0;
  for (const name of names) sum += await sizeOf(join(path, name));
  return sum;
}
