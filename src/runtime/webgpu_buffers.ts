/** The part of a GPUBuffer that is asked here. */
export interface Buffer {
  readonly size: number;
  destroy(): void;
}

/** The part of tfjs's buffer manager that is asked here; its counts are of bytes. */
export interface BufferManager {
  numBytesUsed: number;
  numBytesAllocated: number;
  numFreeBuffers: number;
  /** By size and usage, those unused for longest first. */
  freeBuffers: Map<string, Buffer[]>;
  releaseBuffer(buffer: Buffer, reuse?: boolean): void;
}

/** The part of tfjs's webgpu backend that has to do with buffers. */
export interface WithBuffers {
  bufferManager: BufferManager & { acquireBuffer(size: number, usage: number): Buffer };
  queue: { writeBuffer(buffer: Buffer, offset: number, values: ArrayBufferView): void };
  tensorMap: { get(dataId: object): TensorData | undefined };
  uploadToGPU(dataId: object): void;
}

interface TensorData {
  dtype: string;
  /** What has not been uploaded yet. */
  values: ArrayLike<number> | null;
  resource?: Buffer | null;
}

/**
 * Lets freed buffers go. tfjs keeps each for the next tensor of exactly its size, so where sizes vary, as with answers of
 * other lengths in every training step, the GPU's memory fills with buffers that nothing uses. Here used and free ones
 * together are at most twice what has ever been in use at once.
 */
export function limitFreeBuffers(manager: BufferManager): void {
  const release = manager.releaseBuffer.bind(manager);
  let mostUsed = 0;
  manager.releaseBuffer = (buffer, reuse) => {
    mostUsed = Math.max(mostUsed, manager.numBytesUsed);
    release(buffer, reuse);
    if (manager.numBytesAllocated <= 2 * mostUsed) return;
    for (const free of manager.freeBuffers.values()) {
      while (free.length > 0 && manager.numBytesAllocated > 2 * mostUsed) destroyOne(manager, free);
    }
  };
}

function destroyOne(manager: BufferManager, free: Buffer[]): void {
  const buffer = free.shift()!;
  buffer.destroy();
  manager.numFreeBuffers--;
  manager.numBytesAllocated -= buffer.size;
}

/** GPUBufferUsage.STORAGE, COPY_SRC and COPY_DST, as tfjs has them for tensors. */
const TENSOR = 0x80 | 0x4 | 0x8;

/** Bytes up to which numbers are copied into the queue. Above that mapping is no slower. */
const SMALL = 2 ** 16;

/**
 * Uploads small tensors by way of the queue. tfjs maps a new buffer for each, which takes more than a millisecond, and
 * every number in an operation is such a tensor. A buffer is free only after what has used it was submitted, so what is
 * written at once does not come too early.
 */
export function uploadThroughQueue(backend: WithBuffers): void {
  const upload = backend.uploadToGPU.bind(backend);
  backend.uploadToGPU = dataId => {
    const data = backend.tensorMap.get(dataId)!;
    const bytes = 4 * (data.values?.length ?? 0);
    if (data.resource || bytes === 0 || bytes > SMALL) return upload(dataId);
    const values = data.dtype === 'float32' ? Float32Array.from(data.values!) : Int32Array.from(data.values!);
    data.resource = backend.bufferManager.acquireBuffer(bytes, TENSOR);
    data.values = null;
    backend.queue.writeBuffer(data.resource, 0, values);
  };
}
