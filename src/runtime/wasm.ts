import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';
import { withoutErrorListeners } from '../platform/node.ts';

/** Of one tensor: the module takes a larger size for a negative one. */
const LARGEST = 2 ** 31 - 2 ** 16; // bytes

/**
 * Registers the wasm backend and returns its description.
 * In a browser, `path` says where the package's `.wasm` files are served (ends with a slash).
 */
export async function registerWasm(path?: string): Promise<string> {
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  if (path !== undefined && !('wasm' in tf.engine().registry)) wasm.setWasmPaths(path); // refused once it has started
  const [simd, threads] = await Promise.all([
    tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'),
    tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'),
  ]);
  await withoutErrorListeners(() => tf.setBackend('wasm'));
  guardMemory((tf.backend() as unknown as { wasm: Heap }).wasm);
  return `WebAssembly${simd ? ' with SIMD' : ''}, ${threads ? 'threads' : 'one thread'}`;
}

interface Heap {
  /** Address of so many free bytes, 0 where there are none. */
  _malloc(bytes: number): number;
}

const guarded = new WeakSet<Heap>();

/** tfjs does not look whether it was given memory: without any, kernels write over the module's own from address 0. */
function guardMemory(heap: Heap): void {
  if (guarded.has(heap)) return;
  guarded.add(heap);
  heap._malloc(1); // the module puts its function in place when it is first called
  const allocate = heap._malloc;
  heap._malloc = bytes => {
    const address = bytes > LARGEST ? 0 : allocate(bytes);
    if (address !== 0 || bytes === 0) return address;
    throw new Florence2Error(
      `The wasm backend has no room for ${Math.ceil(bytes / 1e6)} MB more: it has 4 GiB, weights included. Use fewer or smaller images at once, or another backend.`,
    );
  };
}
