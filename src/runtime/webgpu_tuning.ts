import * as tf from '@tensorflow/tfjs';
import { limitFreeBuffers, uploadThroughQueue, type WithBuffers } from './webgpu_buffers.ts';
import { registerKernels } from './webgpu_kernels.ts';

const tuned = new WeakSet<object>();

/** Gives the active webgpu backend our kernels, and mends how it handles buffers. Does nothing the second time. */
export function tuneWebgpu(): void {
  const backend = tf.backend() as unknown as WithBuffers;
  if (tuned.has(backend)) return;
  tuned.add(backend);
  registerKernels();
  limitFreeBuffers(backend.bufferManager);
  uploadThroughQueue(backend);
}
