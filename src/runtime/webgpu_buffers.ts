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

/** The webgpu backend. */
export interface WithBuffers {
  bufferManager: BufferManager;
}

const limited = new WeakSet<BufferManager>();

/**
 * Lets freed buffers go. tfjs keeps each for the next tensor of exactly its size, so where sizes vary, as with answers of
 * other lengths in every training step, the GPU's memory fills with buffers that nothing uses. Here used and free ones
 * together are at most twice what has ever been in use at once.
 */
export function limitFreeBuffers(manager: BufferManager): void {
  if (limited.has(manager)) return;
  limited.add(manager);
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
