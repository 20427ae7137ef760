/** `limitFreeBuffers` with tfjs's buffer manager, on a fake device that only counts buffers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Buffer, type BufferManager, limitFreeBuffers } from '../../src/runtime/webgpu_buffers.ts';

interface Acquiring extends BufferManager {
  acquireBuffer(size: number, usage: number): Buffer;
}

const source = '@tensorflow/tfjs-backend-webgpu/dist/buffer_manager.js';
const { BufferManager: Manager } = (await import(source)) as {
  BufferManager: new (device: { createBuffer(options: { size: number }): Buffer }) => Acquiring;
};

/** Returns a buffer manager, and the sizes of the buffers that exist. */
function start(limited: boolean): { manager: Acquiring; alive: Map<Buffer, number> } {
  const alive = new Map<Buffer, number>();
  const createBuffer = ({ size, usage }: { size: number; usage?: number }): Buffer => {
    const buffer = { size, usage, destroy: () => assert.ok(alive.delete(buffer), 'a buffer is destroyed only once') };
    alive.set(buffer, size);
    return buffer;
  };
  const manager = new Manager({ createBuffer });
  if (limited) limitFreeBuffers(manager);
  return { manager, alive };
}

const bytesOf = (alive: Map<Buffer, number>): number => [...alive.values()].reduce((sum, size) => sum + size, 0);

/** Runs steps that use three tensors at once, of other sizes in each step. */
function work(manager: Acquiring, alive: Map<Buffer, number>, steps: number): void {
  for (let step = 0; step < steps; step++) {
    const buffers = [1, 2, 3].map(i => manager.acquireBuffer(1000 * i + 4 * step, 1));
    for (const buffer of buffers) assert.ok(alive.has(buffer), 'acquired buffers exist');
    for (const buffer of buffers) manager.releaseBuffer(buffer);
  }
}

test('varying sizes do not fill the memory', () => {
  const [free, limited] = [start(false), start(true)];
  for (const { manager, alive } of [free, limited]) work(manager, alive, 200);
  const mostUsed = 6000 + 3 * 4 * 199;
  assert.ok(bytesOf(free.alive) > 50 * mostUsed, 'tfjs now frees buffers itself: limitFreeBuffers can be deleted');
  assert.ok(bytesOf(limited.alive) <= 2 * mostUsed, `${bytesOf(limited.alive)} bytes for ${mostUsed}`);
  assert.is(limited.manager.numBytesAllocated, bytesOf(limited.alive));
  assert.is(limited.manager.numFreeBuffers, limited.alive.size);
});

test('a buffer of the same size is reused', () => {
  const { manager, alive } = start(true);
  const first = manager.acquireBuffer(1000, 1);
  manager.releaseBuffer(first);
  assert.is(manager.acquireBuffer(1000, 1), first);
  assert.is(alive.size, 1);
});

test.run();
