import * as tf from '@tensorflow/tfjs';
import type { ActivationSink } from '../hooks/capture.ts';
import { SafetensorsStream } from '../weights/safetensors_file.ts';
import { download } from './activation.ts';
import { ActivationCache, tensorName } from './cache.ts';

/** Writes activations to a safetensors file as they are captured. Node only. */
export class ActivationFile implements ActivationSink {
  private readonly stored: ActivationCache;
  private readonly pending = new Set<Promise<void>>();
  private failure: unknown;

  /** @throws Florence2Error if the file cannot be written */
  static async create(file: string): Promise<ActivationFile> {
    return new ActivationFile(file, await SafetensorsStream.create(file));
  }

  private constructor(
    file: string,
    private readonly stream: SafetensorsStream,
  ) {
    this.stored = new ActivationCache(file);
  }

  put(name: string, step: number | undefined, tensor: tf.Tensor): void {
    if (this.failure) throw this.failure; // a full disk, for example, ends the run
    const moved = this.move(name, step, tf.keep(tensor))
      .catch(error => {
        this.failure ??= error;
      })
      .finally(() => this.pending.delete(moved));
    this.pending.add(moved);
  }

  /** Completes the file and returns a cache that reads from it. @throws Florence2Error if writing failed */
  async finish(metadata: Record<string, string>): Promise<ActivationCache> {
    await this.settled();
    if (this.failure) throw this.failure;
    await this.stream.finish({ format: 'pt', ...metadata });
    Object.assign(this.stored.metadata, metadata);
    return this.stored;
  }

  /** Removes what was written. */
  async abandon(): Promise<void> {
    await this.settled();
    await this.stream.abandon();
  }

  private async move(name: string, step: number | undefined, tensor: tf.Tensor): Promise<void> {
    const { values, shape } = await download(tensor);
    this.stream.append(tensorName(name, step), shape, values);
    this.stored.putStored(name, step, shape);
  }

  private async settled(): Promise<void> {
    await Promise.all(this.pending);
  }
}
