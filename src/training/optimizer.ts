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

/** Running means of a parameter's gradient and of its square, as one row of values. */
export interface Moments {
  first: tf.Tensor1D;
  second: tf.Tensor1D;
}

/** Smaller parameters are moved together: an operation on one of them costs more than its arithmetic. */
const SMALL = 2 ** 18; // values

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
    for (const group of this.groups([...gradients.keys()])) {
      const groupGradients = group.map(parameter => gradients.get(parameter)!);
      const gradient = tf.tidy(() => tf.mul(concatFlat(groupGradients), factor) as tf.Tensor1D);
      tf.dispose(groupGradients);
      this.move(group, gradient, learningRate);
    }
  }

  /**
   * The small parameters that decay, those that do not, and each of the large ones by itself. The largest go last, when
   * the others' gradients have made room for what is needed on the way.
   */
  private groups(parameters: Parameter[]): Parameter[][] {
    const { decays } = this.options;
    const sorted = parameters.sort((a, b) => a.value.size - b.value.size);
    const small = sorted.filter(({ value }) => value.size < SMALL);
    const together = [small.filter(decays), small.filter(parameter => !decays(parameter))];
    const large = sorted.slice(small.length).map(parameter => [parameter]);
    return [...together.filter(group => group.length > 0), ...large];
  }

  /** Moves parameters that all decay or all do not. `gradient` has the values of one after another; it is freed. */
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
   * Exponential means of the parameters one after another, moved towards new values. Those before are freed.
   *
   * @param value times the share that it has in the new means
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

/** The values of some tensors one after another. */
function concatFlat(tensors: tf.Tensor[]): tf.Tensor1D {
  return tf.tidy(() => {
    const flat = tensors.map(tensor => (tensor.rank === 1 ? tensor : tf.reshape(tensor, [tensor.size])) as tf.Tensor1D);
    return flat.length === 1 ? flat[0] : tf.concat1d(flat);
  });
}

/** Those of each parameter, from the values of one after another. */
function splitFlat(joined: tf.Tensor1D, parameters: Parameter[]): tf.Tensor1D[] {
  if (parameters.length === 1) return [joined.clone()];
  const sizes = parameters.map(({ value }) => value.size);
  return tf.tidy(() => tf.split(joined, sizes));
}

/** The Euclidean norm of all gradients taken as one vector. */
export function globalNorm(gradients: Iterable<tf.Tensor>): tf.Scalar {
  return tf.tidy(() => {
    const squares = Array.from(gradients, gradient => tf.tidy(() => tf.sum(tf.square(gradient)) as tf.Scalar));
    return tf.sqrt(squares.length > 0 ? tf.sum(tf.stack(squares)) : tf.scalar(0)); // addN takes but a few on webgpu
  });
}

/** What every gradient is multiplied by so that the norm of all is at most `maxNorm`, as `clip_grad_norm_` does. */
export function clipFactor(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}

export const scheduleNames = ['constant', 'linear', 'cosine'] as const;

export type ScheduleName = (typeof scheduleNames)[number];

export interface Schedule {
  schedule: ScheduleName;
  /** The highest learning rate. */
  learningRate: number;
  /** Steps in which the rate rises from 0 to it. */
  warmupSteps: number;
  /** Steps of the whole run, at whose end `linear` and `cosine` are at 0. */
  totalSteps: number;
}

/** The learning rate of a step, counted from 0, as transformers' schedulers of these names give it. */
export function learningRateAt(step: number, { schedule, learningRate, warmupSteps, totalSteps }: Schedule): number {
  if (step < warmupSteps) return (learningRate * step) / warmupSteps;
  if (schedule === 'constant') return learningRate;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  const share = schedule === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2;
  return learningRate * share;
}
