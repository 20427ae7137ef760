import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import util from 'node:util';
import { isMainThread } from 'node:worker_threads';
import type * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { KERNEL_NAMES, type Kernel, registeredName } from '../nn/kernels.ts';
import { bindingPath, findBuilds, instructionSet, kernelsPath, stderrPath, TFJS_NODE_VERSION } from './builds.ts';
import type { Messages, NodeBackend } from './tensorflow_binding.ts';

type Tfjs = typeof tf;

/** The functions used here of @tensorflow/tfjs-node's compiled binding. */
interface Binding {
  TF_Version: string;
  isUsingGpuDevice(): boolean;
}

/** The exports of our kernels' addon; see kernels/addon.cc. */
interface OwnKernels {
  addProgram(code: Int32Array, values: Int32Array): number;
  removeProgram(number: number): void;
}

/** The paths of a @tensorflow/tfjs-node and its compiled binding. */
interface Location {
  /** Resolves modules from the package. */
  require: NodeJS.Require;
  package: string;
  binding: string;
  /** The addon that registers our kernels with TensorFlow. */
  kernels?: string;
  /** An addon that exports `mute` and `unmute` for the process's stderr. */
  stderr?: string;
}

/**
 * Registers the tensorflow backend and returns its description. Uses the build of `florence2 setup tensorflow`, else an
 * installed @tensorflow/tfjs-node whose install script succeeded.
 *
 * The package's index.js is not run, because it searches for the binding with node-pre-gyp and activates the backend.
 * This function assembles its three relevant parts instead: kernels, backend class, binding.
 *
 * @throws Florence2Error if TensorFlow is not set up
 */
export function registerTensorflow(): string {
  const require = createRequire(import.meta.url);
  const tfjs: Tfjs = require('@tensorflow/tfjs');
  const location = keptBuild(tfjs) ?? installedPackage(require);
  if (!location)
    throw new Florence2Error('TensorFlow is not set up: run "florence2 setup tensorflow".', { code: 'BACKEND' });

  restoreUtil();
  const binding = loadBinding(location);
  const gpu = binding.isUsingGpuDevice();
  if (!tfjs.findBackendFactory('tensorflow')) {
    location.require(join(location.package, 'dist/register_all_kernels.js'));
    const { NodeJSKernelBackend } = location.require(join(location.package, 'dist/nodejs_kernel_backend.js'));
    // The backend recognises the CUDA build by this name.
    const name = `@tensorflow/tfjs-node${gpu ? '-gpu' : ''}`;
    tfjs.registerBackend('tensorflow', () => new NodeJSKernelBackend(binding, name));
  }
  running = { location, gpu, kernels: gpu ? undefined : loadKernels(tfjs, location) };
  return `TensorFlow ${binding.TF_Version} (${gpu ? 'GPU' : 'CPU'})`;
}

let running: { location: Location; gpu: boolean; kernels?: OwnKernels } | undefined;

/**
 * Returns whether graphs are worthwhile: not on a GPU, to which each run would copy the inputs, including the weights.
 */
export const graphsSupported = (): boolean => running !== undefined && !running.gpu;

/** Returns whether our kernels are loaded. Only a build of `florence2 setup tensorflow` has them. */
export const kernelsSupported = (): boolean => running?.kernels !== undefined;

/** Returns the exports of our addon. Requires `kernelsSupported()`. */
export const ownKernels = (): OwnKernels => running!.kernels!;

/** Returns TensorFlow's protocol buffer classes, which graphs are serialised with. */
export function protocolBuffers(): Messages {
  const { location } = running!;
  return location.require(join(location.package, 'dist/proto/api_pb.js'));
}

/** Global key of our copy of TensorFlow.js, for a build's stand-in packages. A second copy would be a second engine. */
const HANDOVER = Symbol.for('florence2-tfjs.tfjs');

/** Returns the best build in the user's cache. FLORENCE2_TENSORFLOW=cpu or gpu restricts the choice. */
function keptBuild(tfjs: Tfjs): Location | undefined {
  const wanted = process.env.FLORENCE2_TENSORFLOW;
  const build = findBuilds().find(({ variant }) => !wanted || variant === wanted);
  if (!build) return undefined;
  (globalThis as Record<symbol, unknown>)[HANDOVER] = tfjs;
  return {
    require: createRequire(join(build.folder, 'index.js')),
    package: join(build.folder, 'node_modules/@tensorflow/tfjs-node'),
    binding: bindingPath(build.folder),
    kernels: kernelsPath(build.folder, instructionSet()),
    stderr: stderrPath(build.folder),
  };
}

/** Returns the user's installed @tensorflow/tfjs-node(-gpu) if it is built and uses our copy of TensorFlow.js. */
function installedPackage(require: NodeJS.Require): Location | undefined {
  for (const name of ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node']) {
    let manifest: string;
    try {
      manifest = require.resolve(`${name}/package.json`);
    } catch {
      continue;
    }
    const folder = dirname(manifest);
    const binding = join(folder, 'lib/napi-v8/tfjs_binding.node');
    const own = createRequire(manifest);
    const shared = own.resolve('@tensorflow/tfjs') === require.resolve('@tensorflow/tfjs');
    if (own('./package.json').version === TFJS_NODE_VERSION && shared && existsSync(binding)) {
      return { require: own, package: folder, binding };
    }
  }
  return undefined;
}

/**
 * Loads the binding, with settings in environment variables that TensorFlow reads while it is loaded. Variables set by
 * the user are kept. stderr is muted meanwhile, because TensorFlow prints to it before it reads its log level.
 */
function loadBinding({ require, binding, stderr }: Location): Binding {
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true'; // otherwise TensorFlow allocates all of the GPU's memory at once
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '3'; // no messages: errors are thrown as exceptions
  return muted(require, stderr, () => require(binding));
}

/**
 * Loads a graph without TensorFlow's messages. Only in worker threads it has some: their environment is a copy, so that
 * TensorFlow does not read the log level that is set there.
 */
export function quietly<T>(load: () => T): T {
  return isMainThread ? load() : muted(running!.location.require, running!.location.stderr, load);
}

/** Runs a function while the process's stderr is muted, unless the user asks for messages. */
function muted<T>(require: NodeJS.Require, addon: string | undefined, body: () => T): T {
  const verbose = process.env.TF_CPP_MIN_LOG_LEVEL === '0';
  const output = verbose || addon === undefined ? undefined : require(addon);
  output?.mute();
  try {
    return body();
  } finally {
    output?.unmute();
  }
}

function loadKernels(tfjs: Tfjs, { require, kernels }: Location): OwnKernels | undefined {
  if (kernels === undefined || !existsSync(kernels)) return undefined;
  const addon = require(kernels) as OwnKernels;
  if (!tfjs.getKernel(registeredName('Gelu'), 'tensorflow')) registerKernels(tfjs);
  return addon;
}

/** The binding's names of the types of our kernels' attributes. */
const ATTRIBUTE_TYPES: Record<string, string> = {
  epsilon: 'TF_ATTR_FLOAT',
  scale: 'TF_ATTR_FLOAT',
  k: 'TF_ATTR_INT',
  first: 'TF_ATTR_INT',
  count: 'TF_ATTR_INT',
  radius: 'TF_ATTR_INT',
  file: 'TF_ATTR_STRING',
  halves: 'TF_ATTR_BOOL',
  rows: 'TF_ATTR_INT',
  columns: 'TF_ATTR_INT',
  transposed: 'TF_ATTR_BOOL',
};

/** Numbers of outputs of kernels that do not have exactly one. */
const OUTPUT_COUNTS: Partial<Record<Kernel, number>> = { AttentionGrad: 3, LowRankGrad: 3 };

/** Registers the operations of our addon with tfjs, under the same names and with the same inputs. */
function registerKernels(tfjs: Tfjs): void {
  for (const kernel of KERNEL_NAMES) {
    tfjs.registerKernel({
      kernelName: registeredName(kernel),
      backendName: 'tensorflow',
      kernelFunc: ({ inputs, attrs, backend }) => {
        const node = backend as NodeBackend;
        const attributes = Object.entries(attrs ?? {}).map(([name, value]) => {
          return { name, type: node.binding[ATTRIBUTE_TYPES[name]] as number, value };
        });
        const tensors = Object.values(inputs) as tf.Tensor[];
        const count = OUTPUT_COUNTS[kernel];
        return count
          ? node.executeMultipleOutputs(registeredName(kernel), attributes, tensors, count)
          : node.executeSingleOutput(registeredName(kernel), attributes, tensors);
      },
    });
  }
}

/** Restores functions that tfjs-node 4.22 calls and Node 23 removed. The fix, tensorflow/tfjs#8425, is unreleased. */
function restoreUtil(): void {
  Object.assign(util, {
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
    isArray: Array.isArray,
  });
}
