import * as tf from '@tensorflow/tfjs';
import { type BackendName, useBackend } from '../src/runtime/backend.ts';

export { withoutLeaks } from './leaks.ts';

/**
 * The backend under test. A test file that imports this one is run once for each backend that the runner finds
 * (see run.ts), named by FLORENCE2_TEST_BACKEND; alone it runs on wasm.
 */
export const testBackend = (process.env.FLORENCE2_TEST_BACKEND ?? 'wasm') as BackendName;
await useBackend(testBackend);
// Small tensors would be computed on the CPU: right for speed, but here the GPU's kernels are to be tested.
if (testBackend === 'webgpu') tf.env().set('WEBGPU_CPU_FORWARD', false);
