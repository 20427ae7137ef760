import * as tf from '@tensorflow/tfjs';
import { Florence2Error } from '../errors.ts';

/** Largest allocation in bytes. The module interprets larger sizes as negative numbers. */
const LARGEST = 2 ** 31 - 2 ** 16;

/**
 * Registers the wasm backend and returns its description.
 *
 * @param path in browsers, the URL of the folder with the package's `.wasm` files, with a trailing slash
 */
export async function registerWasm(path?: string): Promise<string> {
  const wasm = await import('@tensorflow/tfjs-backend-wasm');
  if (path !== undefined && !('wasm' in tf.engine().registry)) wasm.setWasmPaths(path); // fails after the start
  const [simd, threads] = await Promise.all([
    tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'),
    tf.env().getAsync('WASM_HAS_MULTITHREAD_SUPPORT'),
  ]);
  return `WebAssembly${simd ? ' with SIMD' : ''}, ${threads ? 'threads' : 'one thread'}`;
}

interface Heap {
  /** Allocates memory and returns its address; 0 on failure. */
  _malloc(bytes: number): number;
}

const guarded = new WeakSet<Heap>();

/**
 * Makes failed allocations throw. tfjs does not check for them, so kernels would overwrite the module's memory from
 * address 0 on.
 */
export function guardMemory(backend: object): void {
  const { wasm: heap } = backend as { wasm: Heap };
  if (guarded.has(heap)) return;
  guarded.add(heap);
  heap._malloc(1); // the first call replaces the module's lazy stub by the real function
  const allocate = heap._malloc;
  heap._malloc = bytes => {
    const address = bytes > LARGEST ? 0 : allocate(bytes);
    if (address !== 0 || bytes === 0) return address;
    throw new Florence2Error(
      `The wasm backend cannot allocate ${Math.ceil(bytes / 1e6)} MB: its memory is limited to 4 GiB, including weights. Use fewer or smaller images per batch, or another backend.`,
      { code: 'BACKEND' },
    );
  };
}
