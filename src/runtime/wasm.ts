import * as tf from '@tensorflow/tfjs';
import { isNode } from './platform.ts';

/**
 * Registers the wasm backend and returns its description.
 * In a browser, `path` says where the package's `.wasm` files are served (ends with a slash).
 */
export async function registerWasm(path?: string): Promise<string> {
  const listeners = isNode ? processListeners() : undefined;
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  if (path !== undefined && !('wasm' in tf.engine().registry)) wasm.setWasmPaths(path); // refused once it has started
  const [simd, threads] = await Promise.all([
    tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'),
    tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'),
  ]);
  // Started here and not by the caller, because starting is what installs the listeners to be taken away again.
  await tf.setBackend('wasm');
  if (listeners) removeAdded(listeners);
  return `WebAssembly${simd ? ' with SIMD' : ''}, ${threads ? 'threads' : 'one thread'}`;
}

const events = ['uncaughtException', 'unhandledRejection'] as const;

const processListeners = () => new Map<string, unknown[]>(events.map(event => [event, process.rawListeners(event)]));

/** Emscripten's start-up code rethrows every uncaught error of the process from its own listeners, stack and all. */
function removeAdded(before: Map<string, unknown[]>): void {
  for (const event of events) {
    for (const listener of process.rawListeners(event)) {
      if (!before.get(event)?.includes(listener)) process.off(event, listener as () => void);
    }
  }
}
