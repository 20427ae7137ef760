import * as tf from '@tensorflow/tfjs';
import type { HookRegistry } from '../hooks.ts';
import type { Activation } from './compare.ts';

/** A hook subscriber: keeps the activations at some points until they are read. */
export class Capture {
  private readonly kept = new Map<string, tf.Tensor>();
  private readonly remove: () => void;

  constructor(hooks: HookRegistry, points: Iterable<string>) {
    const wanted = new Set(points);
    this.remove = hooks.add(
      name => wanted.has(name),
      (activation, { name }) => {
        this.kept.get(name)?.dispose();
        this.kept.set(name, tf.keep(tf.clone(activation)));
      },
    );
  }

  /** The activation at a point, which is then no longer kept; undefined where the model has no such point. */
  async take(point: string): Promise<Activation | undefined> {
    const tensor = this.kept.get(point);
    if (!tensor) return undefined;
    this.kept.delete(point);
    return download(tensor);
  }

  dispose(): void {
    this.remove();
    tf.dispose([...this.kept.values()]);
    this.kept.clear();
  }
}

/** The values of a tensor, which is disposed. */
export async function download(tensor: tf.Tensor): Promise<Activation> {
  try {
    return { values: (await tensor.data()) as Float32Array, shape: tensor.shape };
  } finally {
    tensor.dispose();
  }
}
