/** The fields of a GPUBuffer that are used here. */
export interface Buffer {
  readonly size: number;
  destroy(): void;
}

/** The fields of tfjs's buffer manager that are used here. */
export interface BufferManager {
  numBytesUsed: number;
  numBytesAllocated: number;
  numFreeBuffers: number;
  /** Free buffers by size and usage, least recently used first. */
  freeBuffers: Map<string, Buffer[]>;
  releaseBuffer(buffer: Buffer, reuse?: boolean): void;
}

/** The fields of tfjs's webgpu backend that handle buffers. */
export interface WithBuffers {
  bufferManager: BufferManager & { acquireBuffer(size: number, usage: number): Buffer };
  queue: { writeBuffer(buffer: Buffer, offset: number, values: ArrayBufferView): void };
  tensorMap: { get(dataId: object): TensorData | undefined };
  uploadToGPU(dataId: object): void;
}

interface TensorData {
  dtype: string;
  /** Values that are not uploaded yet. */
  values: ArrayLike<number> | null;
  resource?: Buffer | null;
}

/**
 * Destroys free buffers when used and free ones together exceed twice the peak of memory in use. tfjs keeps every free
 * buffer for the next tensor of exactly its size. If sizes vary, as with answers of different lengths in training, the
 * GPU's memory would fill with unused buffers.
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

/** GPUBufferUsage.STORAGE | COPY_SRC | COPY_DST, the usage of tfjs's tensors. */
const TENSOR = 0x80 | 0x4 | 0x8;

/** Largest size in bytes to upload through the queue. For larger ones mapping is not slower. */
const SMALL = 2 ** 16;

/**
 * Uploads small tensors with `queue.writeBuffer`. tfjs maps a new buffer for each, which takes more than a millisecond,
 * and every number in an operation is such a tensor. Writing immediately is safe, because buffers are only freed after
 * the commands that use them were submitted.
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
