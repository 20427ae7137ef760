import * as tf from '@tensorflow/tfjs';
import { Florence2Error, UsageError } from '../errors.ts';
import { suggestName } from '../names.ts';
import { activate, onBackend } from '../nn/on_backend.ts';
import { checkOptions, onOff, text } from '../options.ts';
import { isNode, withoutErrorListeners } from '../platform/node.ts';

/** The supported tfjs backends, fastest first. `auto` tries them in this order. */
export const BACKEND_NAMES = ['tensorflow', 'webgpu', 'wasm', 'cpu'] as const;
/** The name of a supported tfjs backend. */
export type BackendName = (typeof BACKEND_NAMES)[number];

/** Options of `useBackend`. */
export interface BackendOptions {
  /**
   * URL of the folder with the three `.wasm` files of @tensorflow/tfjs-backend-wasm, with a trailing slash. Browsers
   * only. Default: the script's folder.
   */
  wasmPath?: string;
  /** Accepts a software WebGPU adapter. Default: true if webgpu is requested by name, false for `auto`. */
  softwareAdapter?: boolean;
}

/** The result of `useBackend`. */
export interface BackendChoice {
  name: BackendName;
  /** The backend's description, e.g. "TensorFlow 2.21.0 (CPU)". */
  description: string;
  /** The backends that `auto` tried before this one, and why each of them cannot run. */
  passedOver: { name: BackendName; reason: string }[];
}

/**
 * Activates a tfjs backend and checks it with a small matrix product. `auto` activates the first backend that works,
 * and returns why those before it do not.
 *
 * @throws UsageError if the name is unknown
 * @throws Florence2Error if the backend (with `auto`, every backend) cannot run, with the reason
 */
export async function useBackend(name: BackendName | 'auto', options: BackendOptions = {}): Promise<BackendChoice> {
  checkOptions('useBackend', options, { wasmPath: text, softwareAdapter: onOff });
  if (name === 'auto') return useFirst(options);
  if (!BACKEND_NAMES.includes(name)) {
    const hint = suggestName(String(name), ['auto', ...BACKEND_NAMES], 'The backends');
    throw new UsageError(`Unknown backend "${name}". ${hint}`);
  }
  try {
    return { name, description: await start(name, { softwareAdapter: true, ...options }), passedOver: [] };
  } catch (error) {
    throw new Florence2Error(`Backend ${name} cannot run here: ${reasonOf(error)}`, { code: 'BACKEND', cause: error });
  }
}

async function useFirst(options: BackendOptions): Promise<BackendChoice> {
  const passedOver: BackendChoice['passedOver'] = [];
  for (const name of BACKEND_NAMES) {
    try {
      return { name, description: await start(name, options), passedOver };
    } catch (error) {
      passedOver.push({ name, reason: reasonOf(error) });
    }
  }
  const reasons = passedOver.map(({ name, reason }) => `${name}: ${reason}`);
  throw new Florence2Error(`No backend runs here. ${reasons.join(' ')}`, { code: 'BACKEND' });
}

/** Registers, starts, checks and activates one backend. Returns its description. */
async function start(name: BackendName, options: BackendOptions): Promise<string> {
  silenceCpuBanner();
  const description = await register(name, options);
  const backend = await withoutErrorListeners(() => startBackend(name));
  if (name === 'wasm') (await import('./wasm.ts')).guardMemory(backend);
  if (name === 'webgpu') {
    const { tuneWebgpu } = await import('./webgpu_kernels.ts');
    onBackend(name, tuneWebgpu);
  }
  await checkProduct(name);
  activate(name);
  return description;
}

/** Imports the backend's package and registers it. Packages of other backends are not loaded. */
async function register(name: BackendName, options: BackendOptions): Promise<string> {
  switch (name) {
    case 'tensorflow':
      if (!isNode) throw new Florence2Error('it runs in Node only.', { code: 'BACKEND' });
      return (await import('./tensorflow.ts')).registerTensorflow();
    case 'webgpu':
      return (await import('./webgpu.ts')).registerWebgpu(options.softwareAdapter ?? false);
    case 'wasm':
      return (await import('./wasm.ts')).registerWasm(options.wasmPath);
    case 'cpu':
      return 'plain JavaScript, slow: for tests only';
  }
}

const starting = new Map<string, Promise<tf.KernelBackend>>();

/**
 * Starts a registered backend without activating it, so that models on other backends can run meanwhile. Returns the
 * backend; a second call returns the same.
 *
 * @throws the reason if it cannot start
 */
async function startBackend(name: string): Promise<tf.KernelBackend> {
  const { registry } = tf.engine();
  if (name in registry) return registry[name];
  const factory = tf.findBackendFactory(name);
  if (!factory) throw new Florence2Error('it did not register with TensorFlow.js.', { code: 'BACKEND' });
  const start = starting.get(name) ?? Promise.resolve(factory());
  starting.set(name, start);
  try {
    registry[name] = await start;
    return registry[name];
  } finally {
    starting.delete(name);
  }
}

/** Checks that a backend computes. Some load but fail later: drivers crash, or devices return zeros. */
async function checkProduct(name: BackendName): Promise<void> {
  const matrices = () => [tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]), tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])] as const;
  const product = onBackend(name, () => tf.tidy(() => tf.matMul(...matrices()))); // [2, 2]
  const values = Array.from(await product.data());
  product.dispose();
  if (values.join() !== '22,28,49,64')
    throw new Florence2Error(`it computes a wrong matrix product (${values}, not 22,28,49,64).`, { code: 'BACKEND' });
}

/** Suppresses the banner that the cpu backend prints in Node. Other backends may run operations on it. */
function silenceCpuBanner(): void {
  const cpu = tf.findBackend('cpu') as { firstUse?: boolean } | null;
  if (cpu) cpu.firstUse = false;
}

function reasonOf(error: unknown): string {
  // The wasm backend rejects with a plain object, not an Error.
  const message = (error as { message?: unknown } | null)?.message;
  return (typeof message === 'string' ? message : String(error)).trim().split('\n')[0]!;
}
