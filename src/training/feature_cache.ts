import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { writeWhole } from '../cli/outputs.ts';

/** Where the vision tower's maps are kept between epochs. */
export type FeatureStore = 'memory' | 'disk' | 'off';

/**
 * The vision tower's last maps by image, computed once where the tower learns nothing: later epochs never run it. What
 * does not fit into the limit is not kept, and computed again.
 */
export class FeatureCache {
  private readonly inMemory = new Map<string, Float32Array>();
  private readonly onDisk = new Set<string>();
  private bytes = 0;
  private shape: [H: number, W: number, C: number] = [0, 0, 0]; // of one map

  /**
   * @param folder for `disk`; `dispose` removes it
   * @param limit in bytes
   */
  constructor(
    private readonly store: FeatureStore,
    private readonly folder: string,
    private readonly limit: number,
  ) {}

  /** How many maps are here. */
  get size(): number {
    return this.inMemory.size + this.onDisk.size;
  }

  has(key: string): boolean {
    return this.inMemory.has(key) || this.onDisk.has(key);
  }

  /** One map, [H, W, C]; the caller disposes it. It must be here, see `has`. */
  async read(key: string): Promise<tf.Tensor3D> {
    return tf.tensor3d(this.inMemory.get(key) ?? (await this.readFile(key)), this.shape);
  }

  /** Keeps a map [H, W, C]. */
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
    await mkdir(this.folder, { recursive: true });
    await writeWhole(this.path(key), new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    this.onDisk.add(key);
  }

  async dispose(): Promise<void> {
    this.inMemory.clear();
    this.onDisk.clear();
    if (this.store === 'disk') await rm(this.folder, { recursive: true, force: true });
  }

  private async readFile(key: string): Promise<Float32Array> {
    const bytes = await readFile(this.path(key));
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
  }

  private path(key: string): string {
    return join(this.folder, `${key}.f32`);
  }
}
