import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { lowRankDelta, lowRankShapes } from '../nn/low_rank.ts';
import { type LowRank, Parameter } from '../nn/params.ts';
import {
  checkOptions,
  count,
  integer,
  type Kind,
  listOf,
  type OptionTable,
  oneOf,
  onOff,
  positive,
  rate,
  text,
} from '../options.ts';
import { normalStream, randomStream } from '../random.ts';
import type { Calibration } from '../results/calibration.ts';
import { elementCount } from '../weights/tensor_file.ts';
import {
  endsWithPattern,
  isWithin,
  matchModules,
  matchTargets,
  patternValue,
  type TargetOptions,
} from './target_modules.ts';

/** Options of a new adapter. Names and defaults are those of PEFT's `LoraConfig`, except for `targets`. */
export interface LoraOptions extends TargetOptions {
  /** Rank of the matrices A and B. Default 8. */
  r?: number;
  /** The adapter's output is scaled by alpha / r. Default 8. */
  alpha?: number;
  /** Dropout rate of the adapter's input during training, 0 to below 1. Default 0. */
  dropout?: number;
  /** Scales by alpha / √r instead, which stabilises large ranks (rsLoRA, Kalajdzievski 2023). Default false. */
  rsLora?: boolean;
  /**
   * Ranks of single layers, by a regular expression for the end of their names; the first match is used. Default none.
   */
  rankPattern?: Record<string, number>;
  /** Alphas of single layers, likewise. Default none. */
  alphaPattern?: Record<string, number>;
  /** Initialisation of A. B starts at zero, so a new adapter has no effect. Default `kaiming`. */
  init?: LoraInit;
  /** Biases that are also trained: none, those of adapted layers (`lora_only`), or all. Default `none`. */
  bias?: LoraBias;
  /** Modules trained in full and saved with the adapter, by name or by its last parts. Default none. */
  modulesToSave?: string[];
  /** Seed of the initial values. Default 0. */
  seed?: number;
}

/** Uniform within ±1/√(elements per row of A), or normal with standard deviation 1/r. */
export type LoraInit = 'kaiming' | 'gaussian';
/** The biases that are trained with an adapter. */
export type LoraBias = 'none' | 'lora_only' | 'all';

/** The settings that an adapter keeps. The ranks and alphas of single layers are in `Lora.layers`. */
export type LoraSettings = Required<Pick<LoraOptions, 'r' | 'alpha' | 'dropout' | 'rsLora' | 'init' | 'bias'>>;

/** Values of single layers, by a regular expression. */
const byLayer = (kind: Kind): Kind => ({
  expected: `an object whose values are each ${kind.expected}`,
  allows: values => typeof values === 'object' && values !== null && Object.values(values).every(kind.allows),
});

const NAMES = listOf(text, 'names');

const LAYERS: Kind = {
  expected: 'a text or a list of names',
  allows: value => typeof value === 'string' || NAMES.allows(value),
};

const LORA_OPTIONS: OptionTable<LoraOptions> = {
  ...{ r: count, alpha: positive, rankPattern: byLayer(count), alphaPattern: byLayer(positive) },
  ...{ dropout: rate, rsLora: onOff, init: oneOf('kaiming', 'gaussian'), bias: oneOf('none', 'lora_only', 'all') },
  ...{ targets: LAYERS, exclude: LAYERS, modulesToSave: NAMES, seed: integer },
};

/** PEFT's defaults. */
export const loraDefaults: LoraSettings = {
  r: 8,
  alpha: 8,
  dropout: 0,
  rsLora: false,
  init: 'kaiming',
  bias: 'none',
};

/**
 * A LoRA adapter: a low-rank product for each adapted layer, and replacements for whole parameters (biases, modules
 * trained in full). It fits only the model it was built for, and takes effect when `Adapters` activates it. Hu et al.
 * 2021, https://arxiv.org/abs/2106.09685.
 */
export class Lora {
  /** Factor of the adapter's effect; 1 as trained. `Adapters.setScale` changes it. */
  scale = 1;
  /** Dropout of a layer's input, at the rate `settings.dropout`. The trainer sets it during a step. */
  inputDropout: (<T extends tf.Tensor>(x: T, name: string) => T) | null = null;
  /** The adapted layers, by canonical module name. */
  readonly layers = new Map<string, LoraLayer>();
  /** Parameters that replace the model's parameters of the same names. */
  readonly own = new Map<string, Parameter>();
  /** The weights that DoRA computes, by name; see `direct`. Empty for other adapters. */
  readonly directed = new Map<string, Parameter>();
  /** Calibration of confidences while this is the only active adapter; null: they are not calibrated. */
  calibration: Calibration | null = null;

  /**
   * @param dora whether this is a DoRA adapter (Liu et al. 2024, https://arxiv.org/abs/2402.09353): its layers have
   *   `lengths`. It cannot be trained here
   */
  constructor(
    readonly settings: LoraSettings,
    readonly dora = false,
  ) {}

  /** Declares A and B for a layer with this weight. Their values must be loaded next. */
  adapt(module: string, weight: Parameter, r: number, alpha: number): LoraLayer {
    const layer = new LoraLayer(this, module, weight, r, alpha);
    this.layers.set(module, layer);
    return layer;
  }

  /** Declares a replacement for a parameter of the model. Its value must be loaded next. */
  replace({ name, shape, layout }: Parameter): Parameter {
    const parameter = new Parameter(name, shape, layout);
    this.own.set(name, parameter);
    return parameter;
  }

  /**
   * All parameters of the adapter: `….lora_A.weight`, `….lora_B.weight` and DoRA's `….lora_magnitude_vector` by layer,
   * then the replacements.
   */
  get parameters(): Parameter[] {
    const factors = [...this.layers.values()].flatMap(({ a, b, lengths }) => (lengths ? [a, b, lengths] : [a, b]));
    return [...factors, ...this.own.values()];
  }

  /** Computes the weights of DoRA's layers for the present scale. Does nothing for other adapters. */
  direct(): void {
    for (const layer of this.dora ? this.layers.values() : []) {
      const { name, shape, layout } = layer.weight;
      const parameter = this.directed.get(name) ?? new Parameter(name, shape, layout);
      parameter.replace(layer.directedWeight());
      this.directed.set(name, parameter);
    }
  }

  /** The number of trained values. */
  get parameterCount(): number {
    return this.parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  }

  /** Disposes the parameters. Use `Adapters.remove` instead for an adapter that was added to a model. */
  dispose(): void {
    for (const parameter of [...this.parameters, ...this.directed.values()]) parameter.dispose();
  }
}

/** The low-rank product that an adapter adds to one layer. */
export class LoraLayer implements LowRank {
  readonly a: Parameter;
  readonly b: Parameter;
  /** DoRA: the lengths of the columns of the weight [out], of a convolution [1, out, 1, 1]. Else null. */
  readonly lengths: Parameter | null;

  constructor(
    private readonly lora: Lora,
    readonly module: string,
    readonly weight: Parameter,
    readonly r: number,
    readonly alpha: number,
  ) {
    const { a, b, layout } = lowRankShapes(weight, r);
    this.a = new Parameter(`${module}.lora_A.weight`, a, layout);
    this.b = new Parameter(`${module}.lora_B.weight`, b, layout);
    const [out, , ...kernel] = weight.shape;
    const shape = kernel.length > 0 ? [1, out, 1, 1] : [out];
    this.lengths = lora.dora ? new Parameter(`${module}.lora_magnitude_vector`, shape) : null;
  }

  /** Returns DoRA's weight: the columns of W + s · A B, each with the length that `lengths` says. */
  directedWeight(): tf.Tensor {
    return tf.tidy(() => {
      const columns = tf.add(this.weight.original, lowRankDelta(this.weight, [this])); // [..., out]
      const norm = tf.sqrt(tf.sum(tf.square(columns), columns.shape.map((_, axis) => axis).slice(0, -1))); // [out]
      return tf.mul(columns, tf.div(tf.reshape(this.lengths!.value, [-1]), norm));
    });
  }

  /** Factor of the product B A. */
  get scale(): number {
    return (this.lora.scale * this.alpha) / (this.lora.settings.rsLora ? Math.sqrt(this.r) : this.r);
  }

  /** Returns the product with the present scale, which later changes of the adapter's scale do not affect. */
  fixed(): LowRank {
    const { a, b, scale } = this;
    return { a, b, scale, drop: x => this.drop(x) };
  }

  /** Applies dropout to the layer's input during training. */
  drop<T extends tf.Tensor>(x: T): T {
    return this.lora.inputDropout ? this.lora.inputDropout(x, this.module) : x;
  }
}

/**
 * Returns a new adapter for a model. It has no effect until it is trained. Layers within `modulesToSave` are not
 * adapted.
 *
 * @throws UsageError for a target, pattern or module that matches nothing in the model, and for options out of range
 */
export function createLora(model: Florence2Model, options: LoraOptions): Lora {
  checkOptions('LoRA', options, LORA_OPTIONS);
  const { targets, exclude, rankPattern = {}, alphaPattern = {}, modulesToSave = [], seed = 0, ...given } = options;
  const settings: LoraSettings = { ...loraDefaults, ...defined(given) };
  const modules = matchTargets(model, { targets, exclude }).filter(
    name => !modulesToSave.some(saved => isWithin(name, saved)),
  );
  checkPatterns({ ...rankPattern, ...alphaPattern }, modules);
  const saved = matchModules(model, modulesToSave);
  const lora = new Lora(settings);
  model.compute(() => {
    for (const module of modules) {
      const r = patternValue(rankPattern, module) ?? settings.r;
      const alpha = patternValue(alphaPattern, module) ?? settings.alpha;
      const { a, b } = lora.adapt(module, model.adaptable.get(module)!.weight, r, alpha);
      a.load(initialValues(a, settings.init, seed));
      b.load(new Float32Array(elementCount(b.shape)));
    }
    for (const name of new Set([...saved, ...trainedBiases(model, lora)])) {
      const parameter = model.parameters.get(name)!;
      lora.replace(parameter).replace(tf.clone(parameter.original));
    }
  });
  return lora;
}

/**
 * Returns a copy of an adapter of the same model, such as one to train further.
 *
 * @throws UsageError for a DoRA adapter
 */
export function copyLora(model: Florence2Model, source: Lora): Lora {
  if (source.dora) throw new UsageError('A DoRA adapter cannot be trained: merge it, and train a new one.');
  const copy = new Lora(source.settings);
  for (const [module, { a, b, r, alpha }] of source.layers) {
    const layer = copy.adapt(module, model.adaptable.get(module)!.weight, r, alpha);
    layer.a.replace(tf.clone(a.value));
    layer.b.replace(tf.clone(b.value));
  }
  for (const parameter of source.own.values()) copy.replace(parameter).replace(tf.clone(parameter.value));
  return copy;
}

function initialValues({ name, shape }: Parameter, init: LoraInit, seed: number): Float32Array {
  const [r, ...row] = shape;
  const values = new Float32Array(elementCount(shape));
  if (init === 'gaussian') {
    const normal = normalStream(seed, 'lora', name);
    return values.map(() => normal() / r);
  }
  // PEFT uses kaiming_uniform_ with a = √5, which has this bound.
  const bound = 1 / Math.sqrt(elementCount(row));
  const uniform = randomStream(seed, 'lora', name);
  return values.map(() => (2 * uniform() - 1) * bound);
}

function trainedBiases(model: Florence2Model, { settings, layers }: Lora): string[] {
  if (settings.bias === 'none') return [];
  const biases = [...model.parameters.keys()].filter(name => name.endsWith('.bias'));
  return settings.bias === 'all' ? biases : biases.filter(name => layers.has(name.slice(0, -'.bias'.length)));
}

function checkPatterns(patterns: Record<string, number>, modules: string[]): void {
  for (const pattern of Object.keys(patterns)) {
    if (modules.some(module => endsWithPattern(pattern, module))) continue;
    throw new UsageError(`LoRA: the rank or alpha pattern ${pattern} matches no adapted layer.`);
  }
}

/** Returns the options without those that are undefined, which mean the default. */
function defined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}
