import * as tf from '@tensorflow/tfjs';
import { Florence2Error, UsageError } from '../errors.ts';
import { supportsTensorflow } from '../platform/node.ts';

/** The tfjs backends this package runs on, fastest first: the order in which `auto` tries them. */
export const backendNames = ['tensorflow', 'webgpu', 'wasm', 'cpu'] as const;
export type BackendName = (typeof backendNames)[number];

export interface BackendOptions {
  /**
   * Where the three `.wasm` files of @tensorflow/tfjs-backend-wasm are served. Browsers only; default: beside the
   * script.
   */
  wasmPath?: string;
  /** Take a software WebGPU adapter. Default: true when webgpu is asked for by name, false under `auto`. */
  softwareAdapter?: boolean;
}

export interface BackendChoice {
  name: BackendName;
  /** What it is, e.g. "TensorFlow 2.21.0 (CPU)". */
  description: string;
  /** The backends that `auto` tried before this one, and why each cannot run here. */
  passedOver: { name: BackendName; reason: string }[];
}

/**
 * Makes a tfjs backend the active one and proves with a small product that it computes.
 * `auto` takes the first that works and tells why those before it do not.
 *
 * @throws Florence2Error when the backend (or, under `auto`, every one) cannot run here, with the reason.
 */
export async function useBackend(name: BackendName | 'auto', options: BackendOptions = {}): Promise<BackendChoice> {
  if (name === 'auto') return useFirst(options);
  if (!backendNames.includes(name)) {
    throw new UsageError(`Unknown backend "${name}". Choose one of auto, ${backendNames.join(', ')}.`);
  }
  try {
    return { name, description: await start(name, { softwareAdapter: true, ...options }), passedOver: [] };
  } catch (error) {
    throw new Florence2Error(`Backend ${name} cannot run here: ${reasonOf(error)}`, { cause: error });
  }
}

async function useFirst(options: BackendOptions): Promise<BackendChoice> {
  const passedOver: BackendChoice['passedOver'] = [];
  for (const name of backendNames) {
    try {
      return { name, description: await start(name, options), passedOver };
    } catch (error) {
      passedOver.push({ name, reason: reasonOf(error) });
    }
  }
  const reasons = passedOver.map(({ name, reason }) => `${name}: ${reason}`);
  throw new Florence2Error(`No backend runs here. ${reasons.join(' ')}`);
}

/** Registers, activates and tries one backend. Returns its description. */
async function start(name: BackendName, options: BackendOptions): Promise<string> {
  const description = await withoutWarnings(async () => {
    const description = await register(name, options);
    await activate(name);
    if (name === 'webgpu') (await import('./webgpu_kernels.ts')).tuneWebgpu();
    return description;
  });
  await prove();
  return description;
}

/** The backend's own package is imported here and not before: nobody pays for what is not used. */
async function register(name: BackendName, options: BackendOptions): Promise<string> {
  switch (name) {
    case 'tensorflow':
      if (!supportsTensorflow) throw new Florence2Error('it runs in Node only.');
      return (await import('./tensorflow.ts')).registerTensorflow();
    case 'webgpu':
      return (await import('./webgpu.ts')).registerWebgpu(options.softwareAdapter ?? false);
    case 'wasm':
      return (await import('./wasm.ts')).registerWasm(options.wasmPath);
    case 'cpu':
      return 'plain JavaScript, slow: for tests only';
  }
}

async function activate(name: BackendName): Promise<void> {
  silenceCpuBanner();
  if (await tf.setBackend(name)) return;
  // setBackend only warns, so the reason is asked of the factory itself.
  const factory = tf.findBackendFactory(name);
  if (!factory) throw new Florence2Error('it did not register with TensorFlow.js.');
  const backend = await factory();
  backend.dispose();
  throw new Florence2Error('it failed to start.');
}

/** A backend that loads may still not compute: a driver that crashes, a device that returns zeros. */
async function prove(): Promise<void> {
  const product = tf.tidy(() =>
    tf.matMul(tf.tensor2d([1, 2, 3, 4, 5, 6], [2, 3]), tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])),
  ); // [2, 2]
  const values = Array.from(await product.data());
  product.dispose();
  if (values.join() !== '22,28,49,64') throw new Florence2Error(`a small matrix product came out wrong (${values}).`);
}

/**
 * The cpu backend greets Node users with an advertisement at its first tensor; every other backend may forward to it.
 */
function silenceCpuBanner(): void {
  const cpu = tf.findBackend('cpu') as { firstUse?: boolean } | null;
  if (cpu) cpu.firstUse = false;
}

/** tfjs reports start-up failures on the console; here they become errors, so the console stays clean. */
async function withoutWarnings<T>(body: () => Promise<T>): Promise<T> {
  const production = tf.env().getBool('PROD');
  tf.env().set('PROD', true);
  try {
    return await body();
  } finally {
    tf.env().set('PROD', production);
  }
}

function reasonOf(error: unknown): string {
  // The wasm backend rejects with a plain object that has a message.
  const message = (error as { message?: unknown } | null)?.message;
  return (typeof message === 'string' ? message : String(error)).trim().split('\n')[0]!;
}
