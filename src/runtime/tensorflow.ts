import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import util from 'node:util';
import type * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { type Kernel, kernelNames, registeredName } from '../nn/kernels.ts';
import { bindingPath, findBuilds, instructionSet, kernelsPath, stderrPath, tfjsNodeVersion } from './builds.ts';
import type { Messages, NodeBackend } from './tensorflow_binding.ts';

type Tfjs = typeof tf;

/** What @tensorflow/tfjs-node's compiled binding tells of itself. */
interface Binding {
  TF_Version: string;
  isUsingGpuDevice(): boolean;
}

/** What our own addon gives, beside the operations that it registers: see kernels/program.cc. */
interface OwnKernels {
  addProgram(code: Int32Array, values: Int32Array): number;
  removeProgram(number: number): void;
}

/** Where the JavaScript of @tensorflow/tfjs-node and its compiled binding lie. */
interface Location {
  require: NodeJS.Require;
  package: string;
  binding: string;
  /** The addon that registers our own kernels with TensorFlow. */
  kernels?: string;
  /** Addon with `mute` and `unmute` for the process's stderr. */
  stderr?: string;
}

/**
 * Registers the tensorflow backend and returns its description. The build that `florence2 setup tensorflow` keeps is
 * taken first, else an installed @tensorflow/tfjs-node whose own install script succeeded.
 *
 * The package's index.js is not run: it looks for the binding with node-pre-gyp and sets the backend itself. Its three
 * parts that matter (kernels, backend class, binding) are put together here.
 */
export function registerTensorflow(): string {
  const require = createRequire(import.meta.url);
  const tfjs: Tfjs = require('@tensorflow/tfjs');
  const location = keptBuild(tfjs) ?? installedPackage(require);
  if (!location) throw new Florence2Error('TensorFlow is not set up: run "florence2 setup tensorflow".');

  restoreUtil();
  const binding = loadBinding(location);
  const gpu = binding.isUsingGpuDevice();
  if (!tfjs.findBackendFactory('tensorflow')) {
    location.require(join(location.package, 'dist/register_all_kernels.js'));
    const { NodeJSKernelBackend } = location.require(join(location.package, 'dist/nodejs_kernel_backend.js'));
    // The name tells the backend whether it is the CUDA build.
    const name = `@tensorflow/tfjs-node${gpu ? '-gpu' : ''}`;
    tfjs.registerBackend('tensorflow', () => new NodeJSKernelBackend(binding, name));
  }
  running = { location, gpu, kernels: gpu ? undefined : loadKernels(tfjs, location) };
  return `TensorFlow ${binding.TF_Version} (${gpu ? 'GPU' : 'CPU'})`;
}

let running: { location: Location; gpu: boolean; kernels?: OwnKernels } | undefined;

/** On a GPU a graph's inputs, the weights among them, would be copied to its memory at each run. */
export const graphsSupported = (): boolean => running !== undefined && !running.gpu;

/** Whether our own kernels are there: in the build that `florence2 setup tensorflow` keeps. */
export const kernelsSupported = (): boolean => running?.kernels !== undefined;

/** What our addon gives; only where `kernelsSupported`. */
export const ownKernels = (): OwnKernels => running!.kernels!;

/** The classes of TensorFlow's protocol buffers, of which a graph is written. */
export function protocolBuffers(): Messages {
  const { location } = running!;
  return location.require(join(location.package, 'dist/proto/api_pb.js'));
}

/** Name under which the kept package's stand-in for @tensorflow/tfjs finds our copy: two copies would be two engines. */
const handover = Symbol.for('florence2-tfjs.tfjs');

/** The build in the user's cache. FLORENCE2_TENSORFLOW=cpu or gpu chooses when both are there. */
function keptBuild(tfjs: Tfjs): Location | undefined {
  const wanted = process.env.FLORENCE2_TENSORFLOW;
  const build = findBuilds().find(({ variant }) => !wanted || variant === wanted);
  if (!build) return undefined;
  (globalThis as Record<symbol, unknown>)[handover] = tfjs;
  return {
    require: createRequire(join(build.folder, 'index.js')),
    package: join(build.folder, 'node_modules/@tensorflow/tfjs-node'),
    binding: bindingPath(build.folder),
    kernels: kernelsPath(build.folder, instructionSet()),
    stderr: stderrPath(build.folder),
  };
}

/** A @tensorflow/tfjs-node(-gpu) of the user's own, when it was built and shares our copy of TensorFlow.js. */
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
    if (own('./package.json').version === tfjsNodeVersion && shared && existsSync(binding)) {
      return { require: own, package: folder, binding };
    }
  }
  return undefined;
}

/**
 * TensorFlow reads its settings from the environment when it is loaded, and greets on stderr even before it reads how
 * little it should say. What the user has set stays, and is obeyed.
 */
function loadBinding({ require, binding, stderr }: Location): Binding {
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= 'true'; // else TensorFlow takes all of the GPU's memory at once
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '3'; // what goes wrong reaches us as exceptions
  const talkative = process.env.TF_CPP_MIN_LOG_LEVEL === '0';
  const output = talkative || stderr === undefined ? undefined : require(stderr);
  output?.mute();
  try {
    return require(binding);
  } finally {
    output?.unmute();
  }
}

function loadKernels(tfjs: Tfjs, { require, kernels }: Location): OwnKernels | undefined {
  if (kernels === undefined || !existsSync(kernels)) return undefined;
  const addon = require(kernels) as OwnKernels;
  registerKernels(tfjs);
  return addon;
}

const attributeTypes: Record<string, string> = {
  epsilon: 'TF_ATTR_FLOAT',
  scale: 'TF_ATTR_FLOAT',
  k: 'TF_ATTR_INT',
  file: 'TF_ATTR_STRING',
  halves: 'TF_ATTR_BOOL',
  rows: 'TF_ATTR_INT',
  columns: 'TF_ATTR_INT',
  transposed: 'TF_ATTR_BOOL',
};

/** How many tensors a kernel gives, where it is not one. */
const counts: Partial<Record<Kernel, number>> = { AttentionGrad: 3, LowRankGrad: 3 };

/** Tells tfjs of the operations that our addon has registered with TensorFlow: by the same names and inputs. */
function registerKernels(tfjs: Tfjs): void {
  for (const kernel of kernelNames) {
    tfjs.registerKernel({
      kernelName: registeredName(kernel),
      backendName: 'tensorflow',
      kernelFunc: ({ inputs, attrs, backend }) => {
        const node = backend as NodeBackend;
        const attributes = Object.entries(attrs ?? {}).map(([name, value]) => {
          return { name, type: node.binding[attributeTypes[name]] as number, value };
        });
        const tensors = Object.values(inputs) as tf.Tensor[];
        const count = counts[kernel];
        return count
          ? node.executeMultipleOutputs(registeredName(kernel), attributes, tensors, count)
          : node.executeSingleOutput(registeredName(kernel), attributes, tensors);
      },
    });
  }
}

/** tfjs-node 4.22 calls helpers that Node 22 warns of and Node 23 removed (tensorflow/tfjs#8425, never released). */
function restoreUtil(): void {
  Object.assign(util, {
    isNullOrUndefined: (value: unknown) => value === null || value === undefined,
    isArray: Array.isArray,
  });
}
