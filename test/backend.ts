import * as tf from '@tensorflow/tfjs';
import { type BackendName, useBackend } from '../src/runtime/backend.ts';

export { withoutLeaks } from './leaks.ts';

/**
 * The backend under test. The runner (run.ts) runs test files that import this module once for each backend it finds,
 * which FLORENCE2_TEST_BACKEND names. Default wasm.
 */
export const testBackend = (process.env.FLORENCE2_TEST_BACKEND ?? 'wasm') as BackendName;
await useBackend(testBackend);
// By default small tensors are computed on the CPU, but the tests are for the GPU's kernels.
if (testBackend === 'webgpu') tf.env().set('WEBGPU_CPU_FORWARD', false);
