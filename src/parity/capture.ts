import type { Activation } from '../activations/activation.ts';
import { ActivationCache } from '../activations/cache.ts';
import { Capture } from '../hooks/capture.ts';
import type { HookRegistry } from '../hooks/hooks.ts';

/** The activations at some points, until they are read. */
export class PointCapture {
  private readonly cache = new ActivationCache();
  private readonly capture: Capture;

  constructor(hooks: HookRegistry, points: string[]) {
    this.capture = new Capture(hooks, points, this.cache, { readOnly: false });
  }

  /** The activation at a point, which is then no longer kept; undefined where the model has no such point. */
  async take(point: string): Promise<Activation | undefined> {
    if (!this.cache.has(point)) return undefined;
    const activation = await this.cache.array(point);
    this.cache.drop(point);
    return activation;
  }

  dispose(): void {
    this.capture.stop();
    this.cache.dispose();
  }
}
