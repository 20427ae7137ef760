import * as tf from '@tensorflow/tfjs';
import type { Parameter } from '../nn/params.ts';

/** Options of AdamW. */
export interface AdamWOptions {
  /** Decay rates of the running means of the gradient and of its square. Default [0.9, 0.999]. */
  betas?: [number, number];
  /** Added to the denominator of an update. Default 1e-8. */
  epsilon?: number;
  /** Decoupled weight decay: each step multiplies parameters by 1 − learning rate · this. Default 0.01. */
  weightDecay?: number;
  /** Whether a parameter decays. Default: all but biases and norms. */
  decays?: (parameter: Parameter) => boolean;
}

/** True for all parameters but biases and norms, which are vectors. */
export const decaysByDefault = ({ shape }: Parameter): boolean => shape.length > 1;

/** Running means of a parameter's gradient and of its square, flattened. */
export interface Moments {
  first: tf.Tensor1D;
  second: tf.Tensor1D;
}

/** Smaller parameters are updated together: for one of them, launching an operation costs more than its arithmetic. */
const SMALL = 2 ** 18; // values

/** Adam with decoupled weight decay. Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2. */
export class AdamW {
  /** The number of steps taken. */
  steps = 0;
  private readonly state = new Map<string, Moments>();
  private readonly options: Required<AdamWOptions>;

  constructor(options: AdamWOptions = {}) {
    const { betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 0.01, decays = decaysByDefault } = options;
    this.options = { betas, epsilon, weightDecay, decays };
  }

  /**
   * Updates each parameter by its gradient and disposes the gradients.
   *
   * @param factor multiplies the gradients first, see `clipFactor`
   */
  step(gradients: ReadonlyMap<Parameter, tf.Tensor>, learningRate: number, factor = 1): void {
    this.steps++;
    for (const group of this.groups([...gradients.keys()])) {
      const groupGradients = group.map(parameter => gradients.get(parameter)!);
      const gradient = tf.tidy(() => tf.mul(concatFlat(groupGradients), factor) as tf.Tensor1D);
      tf.dispose(groupGradients);
      this.move(group, gradient, learningRate);
    }
  }

  /**
   * Returns the groups of parameters that are updated together: small ones with decay, small ones without, and each
   * large one alone. The largest come last, when the other gradients have been freed, which lowers the peak of memory.
   */
  private groups(parameters: Parameter[]): Parameter[][] {
    const { decays } = this.options;
    const sorted = parameters.sort((a, b) => a.value.size - b.value.size);
    const small = sorted.filter(({ value }) => value.size < SMALL);
    const together = [small.filter(decays), small.filter(parameter => !decays(parameter))];
    const large = sorted.slice(small.length).map(parameter => [parameter]);
    return [...together.filter(group => group.length > 0), ...large];
  }

  /** Updates parameters of which all decay or none does. Disposes `gradient`, their concatenated gradients. */
  private move(parameters: Parameter[], gradient: tf.Tensor1D, learningRate: number): void {
    const { betas, epsilon, weightDecay, decays } = this.options;
    const [beta1, beta2] = betas;
    const first = this.mean(parameters, 'first', beta1, share => tf.mul(gradient, share));
    const second = this.mean(parameters, 'second', beta2, share => tf.mul(tf.square(gradient), share));
    gradient.dispose();
    const correction = Math.sqrt(1 - beta2 ** this.steps);
    const rate = (learningRate * correction) / (1 - beta1 ** this.steps);
    const keep = decays(parameters[0]) ? 1 - learningRate * weightDecay : 1;
    const moved = tf.tidy(() => {
      const deviation = tf.tidy(() => tf.add(tf.sqrt(second), epsilon * correction));
      const update = tf.tidy(() => tf.div(tf.mul(first, rate), deviation)) as tf.Tensor1D;
      const value = concatFlat(parameters.map(({ value }) => value));
      return splitFlat(tf.sub(keep === 1 ? value : tf.mul(value, keep), update), parameters);
    });
    const [firsts, seconds] = [splitFlat(first, parameters), splitFlat(second, parameters)];
    tf.dispose([first, second]);
    for (const [i, parameter] of parameters.entries()) {
      this.state.set(parameter.name, { first: firsts[i], second: seconds[i] });
      parameter.replace(tf.tidy(() => tf.reshape(moved[i], parameter.value.shape)));
      moved[i].dispose();
    }
  }

  /**
   * Returns updated running means of some parameters, concatenated, and disposes the previous means.
   *
   * @param value returns the new values multiplied by their share in the mean
   */
  private mean(
    parameters: Parameter[],
    which: keyof Moments,
    beta: number,
    value: (share: number) => tf.Tensor1D,
  ): tf.Tensor1D {
    const before = parameters.map(({ name }) => this.state.get(name)?.[which]);
    const moved = tf.tidy(() => {
      const added = tf.tidy(() => value(1 - beta));
      if (before.every(mean => !mean)) return added;
      const all = before.map((mean, i) => mean ?? tf.zeros([parameters[i].value.size]));
      return tf.add(tf.mul(concatFlat(all), beta), added) as tf.Tensor1D;
    });
    tf.dispose(before.filter(mean => mean !== undefined));
    return moved;
  }

  /** The running means by parameter name, for saving. */
  get moments(): ReadonlyMap<string, Moments> {
    return this.state;
  }

  /** Continues from saved state. Takes ownership of the tensors. */
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

/** Concatenates the values of tensors. */
function concatFlat(tensors: tf.Tensor[]): tf.Tensor1D {
  return tf.tidy(() => {
    const flat = tensors.map(tensor => (tensor.rank === 1 ? tensor : tf.reshape(tensor, [tensor.size])) as tf.Tensor1D);
    return flat.length === 1 ? flat[0] : tf.concat1d(flat);
  });
}

/** Splits concatenated values by parameter. */
function splitFlat(joined: tf.Tensor1D, parameters: Parameter[]): tf.Tensor1D[] {
  if (parameters.length === 1) return [joined.clone()];
  const sizes = parameters.map(({ value }) => value.size);
  return tf.tidy(() => tf.split(joined, sizes));
}

/** Returns the Euclidean norm of all gradients, taken as one vector. */
export function globalNorm(gradients: Iterable<tf.Tensor>): tf.Scalar {
  return tf.tidy(() => {
    const squares = Array.from(gradients, gradient => tf.tidy(() => tf.sum(tf.square(gradient)) as tf.Scalar));
    return tf.sqrt(squares.length > 0 ? tf.sum(tf.stack(squares)) : tf.scalar(0)); // addN is wrong on webgpu
  });
}

/** Returns the factor that scales gradients to a global norm of at most `maxNorm`, as PyTorch's `clip_grad_norm_`. */
export function clipFactor(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}

export const SCHEDULE_NAMES = ['constant', 'linear', 'cosine'] as const;

export type ScheduleName = (typeof SCHEDULE_NAMES)[number];

/** A schedule of learning rates. */
export interface Schedule {
  /** The shape of the curve after the warm-up. */
  schedule: ScheduleName;
  /** The learning rate at the end of the warm-up, its maximum. */
  learningRate: number;
  /** Steps over which the rate rises linearly from 0. */
  warmupSteps: number;
  /** The same as a share of all steps, rounded up; replaces `warmupSteps`. */
  warmupRatio?: number;
  /** Steps of the whole run; `linear` and `cosine` reach 0 after the last. */
  totalSteps: number;
}

/** Returns the learning rate of a step, counted from 0. Equal to transformers' schedulers of the same names. */
export function learningRateAt(step: number, { schedule, learningRate, totalSteps, ...warmup }: Schedule): number {
  const { warmupRatio } = warmup;
  const warmupSteps = warmupRatio === undefined ? warmup.warmupSteps : Math.ceil(warmupRatio * totalSteps);
  if (step < warmupSteps) return (learningRate * step) / warmupSteps;
  if (schedule === 'constant') return learningRate;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  const share = schedule === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2;
  return learningRate * share;
}
