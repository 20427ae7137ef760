import type * as tf from '@tensorflow/tfjs';
import { type BlockInputs, type Hooks, joinPath, type View } from './hooks.ts';

/** Hooks that pass the activations at selected points to `note`, in the layout that hooks receive. */
export class NotingHooks implements Hooks {
  constructor(
    private readonly matches: (name: string) => boolean,
    private readonly note: (name: string, activation: tf.Tensor) => void,
    private readonly path = '',
    private readonly view?: View,
  ) {}

  at<T extends tf.Tensor>(leaf: string, activation: T): T {
    const name = joinPath(this.path, leaf);
    if (this.matches(name)) this.note(name, this.view ? this.view.show(activation) : activation);
    return activation;
  }

  sees(leaf: string): boolean {
    return this.matches(joinPath(this.path, leaf));
  }

  repeats(): boolean {
    return false;
  }

  in(module: string): NotingHooks {
    if (module === '') return this;
    return new NotingHooks(this.matches, this.note, joinPath(this.path, module), this.view);
  }

  seen(view: View): NotingHooks {
    return new NotingHooks(this.matches, this.note, this.path, view);
  }

  block<X extends BlockInputs, Y extends tf.Tensor>(
    module: string,
    forward: (h: Hooks, ...inputs: X) => Y,
    ...inputs: X
  ): Y {
    return forward(this.in(module), ...inputs);
  }
}
