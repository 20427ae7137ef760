import { readdirSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Florence2Error } from '../../errors.ts';
import { withLock } from '../../files/lock.ts';
import { makeFolder } from '../../files/write.ts';
import {
  buildFolder,
  cacheRoot,
  downloadRoot,
  LAYOUT_VERSION,
  readBuild,
  type TensorflowBuild,
  TFJS_NODE_VERSION,
  type Variant,
} from '../builds.ts';
import { compileAddons } from './addons.ts';
import { type Command, findCompiler, findNodeHeaders } from './compiler.ts';
import { type Artifact, download } from './download.ts';
import { Http } from './http.ts';
import { tensorflowProject, thisMachine } from './machine.ts';
import { readNpmConfig } from './npm_config.ts';
import { nodeHeaders, type PinnedPackage, placePackage, protobuf, tfjsNode } from './npm_packages.ts';
import { findWheel, type Wanted } from './package_index.ts';
import { readPipConfig } from './pip_config.ts';
import { type Probe, probeBackend } from './probe.ts';
import { unzip } from './unpack.ts';
import { type Machine, parseWheelName } from './wheel.ts';
import { cudaPlace, cudaRequirements, tensorflowPlace } from './wheel_files.ts';

/** The TensorFlow release that this package is tested with. */
export const defaultTensorflow = '2.21.0';

/** Progress of one file. `loaded` and `total` are bytes for downloads and unpacking; else 0 or 1 of 1. */
export interface SetupProgress {
  stage: 'download' | 'unpack' | 'compile' | 'check';
  file: string;
  loaded: number;
  total: number;
}

/** Options of `setupTensorflow`. */
export interface SetupOptions {
  /** Without CUDA (`cpu`) or with it (`gpu`). Default cpu. */
  variant?: Variant;
  /** TensorFlow's release. Default 2.21.0. */
  tensorflow?: string;
  /** Builds again even if a working build exists. Default false. */
  force?: boolean;
  onProgress?: (progress: SetupProgress) => void;
}

export interface SetupResult {
  folder: string;
  /** True if a working build existed already. */
  reused: boolean;
  /** The backend's description, e.g. "TensorFlow 2.21.0 (CPU)". */
  description: string;
}

/**
 * Sets up the tensorflow backend with a current TensorFlow: downloads the wheel for this machine from the package index
 * and compiles @tensorflow/tfjs-node's binding against its libraries. The build is moved into the user's cache as the
 * last step, so an interrupted setup leaves only downloads, which the next run resumes.
 *
 * @throws Florence2Error if the platform is not supported, or a compiler, the network or disk space is missing
 */
export async function setupTensorflow(options: SetupOptions = {}): Promise<SetupResult> {
  const { variant = 'cpu', tensorflow = defaultTensorflow, force = false, onProgress = () => {} } = options;
  if (!/^\d+(\.\d+)+$/.test(tensorflow))
    throw new Florence2Error(`"${tensorflow}" is not a TensorFlow release (try ${defaultTensorflow}).`, {
      code: 'SETUP',
    });
  const folder = buildFolder(tensorflow, variant);
  if (!force && readBuild(folder)) {
    const probe = await start(cacheRoot(), variant, onProgress);
    // A build that no longer works, e.g. after a system update, is replaced.
    if (probe.works) return { folder, reused: true, description: probe.description };
  }
  const machine = thisMachine();
  const project = tensorflowProject(machine, variant);
  const compiler = await findCompiler();
  return withLock(join(cacheRoot(), 'setup.lock'), 'setup', async () => {
    const staging = join(cacheRoot(), `staging-${process.pid}`);
    await removeStaging();
    const setup = new Setup(join(staging, 'tensorflow', basename(folder)), machine, compiler, onProgress);
    try {
      await setup.run({ project, requirement: `==${tensorflow}` }, variant);
      const { works, description } = await start(staging, variant, onProgress);
      if (!works) throw new Florence2Error(`TensorFlow was built but does not run: ${description}`, { code: 'SETUP' });
      await rm(folder, { recursive: true, force: true });
      await makeFolder(dirname(folder));
      await rename(setup.folder, folder);
      await rm(downloadRoot(), { recursive: true, force: true });
      return { folder, reused: false, description };
    } finally {
      await setup.close();
      await removeStaging();
    }
  });
}

/** Removes the unfinished builds of killed processes. The lock guarantees that no other setup is running. */
async function removeStaging(): Promise<void> {
  for (const name of readdirSync(cacheRoot())) {
    if (name.startsWith('staging-')) await rm(join(cacheRoot(), name), { recursive: true, force: true });
  }
}

/** Starts a build in a child process, so that a library that does not load or crashes is detected during the setup. */
async function start(cache: string, variant: Variant, onProgress: (progress: SetupProgress) => void): Promise<Probe> {
  const step = { stage: 'check', file: 'a small matrix product', total: 1 } as const;
  onProgress({ ...step, loaded: 0 });
  const probe = await probeBackend('tensorflow', { FLORENCE2_CACHE: cache, FLORENCE2_TENSORFLOW: variant });
  onProgress({ ...step, loaded: 1 });
  return probe;
}

/** Creates one build. All files are written below `folder`. */
class Setup {
  private readonly pip = readPipConfig();
  private readonly npm = readNpmConfig();
  private readonly index = new Http(this.pip);
  private readonly registry = new Http(this.npm);
  private readonly sources: TensorflowBuild['sources'] = [];
  private readonly cuda: TensorflowBuild['cuda'] = {};

  constructor(
    readonly folder: string,
    private readonly machine: Machine,
    private readonly compiler: Command,
    private readonly onProgress: (progress: SetupProgress) => void,
  ) {}

  async run(wanted: Wanted, variant: Variant): Promise<void> {
    const headers = join(this.folder, 'headers');
    const wheel = await this.wheel(wanted);
    await this.unpack(wheel.path, wheel.artifact, this.folder, tensorflowPlace);
    await this.package(tfjsNode, join(this.folder, 'node_modules', tfjsNode.name));
    await this.package(protobuf, join(this.folder, 'node_modules', protobuf.name));
    await this.compile(headers);
    if (variant === 'gpu') {
      for (const library of await cudaRequirements(wheel.path)) {
        const { path, artifact } = await this.wheel(library);
        await this.unpack(path, artifact, join(this.folder, 'site'), cudaPlace);
        this.cuda[library.project] = parseWheelName(artifact.file)!.version;
      }
    }
    await this.writeStandIns();
    await rm(headers, { recursive: true, force: true });
    const build: TensorflowBuild = {
      layout: LAYOUT_VERSION,
      tensorflow: parseWheelName(wheel.artifact.file)!.version,
      variant,
      tfjsNode: TFJS_NODE_VERSION,
      platform: this.machine.platform,
      arch: this.machine.arch,
      sources: this.sources,
      cuda: this.cuda,
    };
    await writeFile(join(this.folder, 'manifest.json'), `${JSON.stringify(build, null, 2)}\n`);
  }

  async close(): Promise<void> {
    await Promise.all([this.index.close(), this.registry.close()]);
  }

  private async wheel(wanted: Wanted): Promise<{ path: string; artifact: Artifact }> {
    const artifact = await findWheel(this.index, this.pip, wanted, this.machine);
    const onBytes = this.report('download', artifact.file);
    const path = await download(this.index, artifact, downloadRoot(), { onBytes });
    this.sources.push({ file: artifact.file, hash: artifact.hash ? `sha256:${artifact.hash.digest}` : 'local file' });
    return { path, artifact };
  }

  private async unpack(path: string, artifact: Artifact, folder: string, place: (name: string) => string | undefined) {
    const count = await unzip(path, folder, place, this.report('unpack', artifact.file));
    if (count === 0)
      throw new Florence2Error(`${artifact.file} contains none of the required files.`, { code: 'SETUP' });
  }

  private async package(pinned: PinnedPackage, folder: string): Promise<void> {
    await placePackage(this.registry, this.npm, pinned, folder, downloadRoot());
    this.sources.push({ file: `${pinned.name}@${pinned.version}`, hash: pinned.integrity });
  }

  private async compile(headers: string): Promise<void> {
    const own = findNodeHeaders();
    if (!own) await placePackage(this.registry, this.npm, nodeHeaders, join(headers, 'node'), downloadRoot());
    const includes = [own ?? join(headers, 'node/include'), join(headers, 'tensorflow/include')];
    await compileAddons(this.compiler, this.folder, includes, file => this.report('compile', file));
  }

  /**
   * Writes the packages that `require('@tensorflow/tfjs')` finds: they export the copy that ../tensorflow.ts provides.
   */
  private async writeStandIns(): Promise<void> {
    for (const name of ['tfjs', 'tfjs-core']) {
      const folder = join(this.folder, 'node_modules/@tensorflow', name);
      await makeFolder(folder);
      await writeFile(join(folder, 'index.js'), "module.exports = globalThis[Symbol.for('florence2-tfjs.tfjs')];\n");
    }
  }

  private report(stage: SetupProgress['stage'], file: string) {
    return (loaded: number, total: number) => this.onProgress({ stage, file, loaded, total });
  }
}
