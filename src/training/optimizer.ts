import * as tf from '@tensorflow/tfjs';
import type { Parameter } from '../nn/params.ts';

export interface AdamWOptions {
  /** Default [0.9, 0.999]. */
  betas?: [number, number];
  /** Default 1e-8. */
  epsilon?: number;
  /** Share of a parameter that a step at learning rate 1 would remove. Default 0.01. */
  weightDecay?: number;
  /** Which parameters decay. Default: all but biases and norms. */
  decays?: (parameter: Parameter) => boolean;
}

/** All but biases and norms, which are vectors. */
export const decaysByDefault = ({ shape }: Parameter): boolean => shape.length > 1;

/** Running means of a parameter's gradient and of its square. */
export interface Moments {
  first: tf.Tensor;
  second: tf.Tensor;
}

/** Adam with decoupled weight decay. Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2. */
export class AdamW {
  /** Steps taken. */
  steps = 0;
  private readonly state = new Map<string, Moments>();
  private readonly options: Required<AdamWOptions>;

  constructor(options: AdamWOptions = {}) {
    const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01, decays = decaysByDefault } = options;
    this.options = { betas, epsilon, weightDecay, decays };
  }

  /**
   * Moves each parameter against its gradient, and frees the gradient.
   *
   * @param factor that the gradients are multiplied by first
   */
  step(gradients: ReadonlyMap<Parameter, tf.Tensor>, learningRate: number, factor = 1): void {
    this.steps++;
    const { betas, epsilon, weightDecay, decays } = this.options;
    const [beta1, beta2] = betas;
    const correction = Math.sqrt(1 - beta2 ** this.steps);
    const rate = (learningRate * correction) / (1 - beta1 ** this.steps);
    // The largest go last, when the others' gradients have made room for what is needed on the way.
    const smallestFirst = [...gradients].sort(([, a], [, b]) => a.size - b.size);
    for (const [parameter, gradient] of smallestFirst) {
      const { name, value } = parameter;
      const before = this.state.get(name);
      const first = replaceMean(before?.first, beta1, share => tf.mul(gradient, share * factor));
      const second = replaceMean(before?.second, beta2, share => tf.mul(tf.square(gradient), share * factor ** 2));
      gradient.dispose();
      const moved = tf.tidy(() => {
        const deviation = tf.tidy(() => tf.add(tf.sqrt(second), epsilon * correction));
        const update = tf.tidy(() => tf.div(tf.mul(first, rate), deviation));
        return tf.sub(decays(parameter) ? tf.mul(value, 1 - learningRate * weightDecay) : value, update);
      });
      this.state.set(name, { first, second });
      parameter.replace(moved);
    }
  }

  /** The means by parameter name, for a checkpoint. */
  get moments(): ReadonlyMap<string, Moments> {
    return this.state;
  }

  /** Goes on from a checkpoint. The tensors belong to the optimizer from now on. */
  restore(steps: number, moments: Iterable<[name: string, Moments]>): void {
    this.dispose();
    this.steps = steps;
    for (const [name, { first, second }] of moments) {
      this.state.set(name, { first: tf.keep(first), second: tf.keep(second) });
    }
  }

  dispose(): void {
    for (const { first, second } of this.state.values()) tf.dispose([first, second]);
    this.state.clear();
  }
}

/**
 * An exponential mean that moves towards a new value, in place of the one before.
 *
 * @param value times the share that it has in the new mean
 */
function replaceMean(mean: tf.Tensor | undefined, beta: number, value: (share: number) => tf.Tensor): tf.Tensor {
  const moved = tf.tidy(() => {
    const added = tf.tidy(() => value(1 - beta));
    return tf.keep(mean ? tf.add(tf.mul(mean, beta), added) : added);
  });
  mean?.dispose();
  return moved;
}
