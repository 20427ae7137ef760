import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { fileError, isDiskFull, writeError } from '../files/errors.ts';
import { makeFolder } from '../files/write.ts';

export const MAP_STORES = ['memory', 'disk', 'off'] as const;

/** Where the vision tower's feature maps are cached between epochs. */
export type MapStore = (typeof MAP_STORES)[number];

/**
 * Caches the feature map of each image from a frozen vision tower, so that later epochs do not run the tower. Maps
 * beyond the size limit are not cached and are computed again in each epoch.
 */
export class MapCache {
  private readonly inMemory = new Map<string, Float32Array>();
  private readonly onDisk = new Set<string>();
  private bytes = 0;
  private shape: [H: number, W: number, C: number] = [0, 0, 0]; // all maps have this shape

  /**
   * @param folder where `disk` writes its files; `dispose` removes it
   * @param limit most bytes to cache
   * @param onWarning called once if the disk is full; no more maps are cached then
   */
  constructor(
    private readonly store: MapStore,
    private readonly folder: string,
    private limit: number,
    private readonly onWarning: (message: string) => void,
  ) {}

  /** The number of cached maps. */
  get size(): number {
    return this.inMemory.size + this.onDisk.size;
  }

  has(key: string): boolean {
    return this.inMemory.has(key) || this.onDisk.has(key);
  }

  /** Returns a cached map, [H, W, C], which the caller disposes. Check `has` first. */
  async read(key: string): Promise<tf.Tensor3D> {
    return tf.tensor3d(this.inMemory.get(key) ?? (await this.readFile(key)), this.shape);
  }

  /** Caches a map [H, W, C], unless the cache is full or off. Does not dispose it. */
  async write(key: string, map: tf.Tensor3D): Promise<void> {
    const size = 4 * map.size;
    if (this.store === 'off' || this.has(key) || this.bytes + size > this.limit) return;
    this.bytes += size;
    this.shape = map.shape;
    const values = (await map.data()) as Float32Array;
    if (this.store === 'memory') {
      this.inMemory.set(key, values);
      return;
    }
    const path = this.path(key);
    try {
      await makeFolder(this.folder);
      await writeFile(path, values);
    } catch (error) {
      await rm(path, { force: true });
      if (!isDiskFull(error)) throw writeError(path, error);
      if (this.limit > 0)
        this.onWarning(`${(writeError(path, error) as Error).message} Feature maps are no longer cached.`);
      this.limit = 0;
      return;
    }
    this.onDisk.add(key); // only now: a file that is half written must not be read
  }

  async dispose(): Promise<void> {
    this.inMemory.clear();
    this.onDisk.clear();
    if (this.store === 'disk') await rm(this.folder, { recursive: true, force: true });
  }

  private async readFile(key: string): Promise<Float32Array> {
    const path = this.path(key);
    const { buffer, byteOffset, byteLength } = await readFile(path).catch(error => {
      throw fileError(path, error);
    });
    return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
  }

  private path(key: string): string {
    return join(this.folder, `${createHash('sha256').update(key).digest('hex')}.f32`);
  }
}
