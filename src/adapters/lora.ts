import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { Parameter } from '../nn/params.ts';
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
import { LoraEmbedding, LoraLayer } from './lora_layers.ts';
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
  /** The adapted tables of embeddings, by module name. */
  readonly embeddings = new Map<string, LoraEmbedding>();
  /** Weights computed from the model's and the adapter's, by name: those of DoRA's layers, and adapted tables. */
  readonly computed = new Map<string, Parameter>();
  /** The model's weights that stay as they are although they are tied to a table that the adapter changes, by name. */
  readonly untied = new Map<string, Parameter>();
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

  /** Declares A and B for a table of embeddings. Their values must be loaded next. */
  adaptTable(module: string, weight: Parameter, r: number, alpha: number): LoraEmbedding {
    const table = new LoraEmbedding(this, module, weight, r, alpha);
    this.embeddings.set(module, table);
    return table;
  }

  /** Keeps the value of a weight that is tied to a table, which the adapter changes for prompts alone. */
  untie({ name, shape, layout, original }: Parameter): void {
    const parameter = new Parameter(name, shape, layout);
    parameter.replace(tf.clone(original));
    this.untied.set(name, parameter);
  }

  /** Returns the factor of a product of this rank and alpha, at the adapter's present scale. */
  factor(r: number, alpha: number): number {
    return (this.scale * alpha) / (this.settings.rsLora ? Math.sqrt(r) : r);
  }

  /** Declares a replacement for a parameter of the model. Its value must be loaded next. */
  replace({ name, shape, layout }: Parameter): Parameter {
    const parameter = new Parameter(name, shape, layout);
    this.own.set(name, parameter);
    return parameter;
  }

  /**
   * All parameters of the adapter: `….lora_A.weight`, `….lora_B.weight` and DoRA's `….lora_magnitude_vector` by layer,
   * `….lora_embedding_A` and `….lora_embedding_B` by table, then the replacements.
   */
  get parameters(): Parameter[] {
    const factors = [...this.layers.values()].flatMap(({ a, b, lengths }) => (lengths ? [a, b, lengths] : [a, b]));
    const tables = [...this.embeddings.values()].flatMap(({ a, b }) => [a, b]);
    return [...factors, ...tables, ...this.own.values()];
  }

  /** All parameters that replace the model's, by name. */
  get replacements(): [name: string, parameter: Parameter][] {
    return [...this.own, ...this.computed, ...this.untied];
  }

  /** Computes the weights of DoRA's layers and the adapted tables for the present scale. */
  compute(): void {
    const layers = this.dora ? [...this.layers.values()] : [];
    for (const { weight, sum } of [
      ...layers.map(layer => ({ weight: layer.weight, sum: () => layer.directedWeight() })),
      ...[...this.embeddings.values()].map(table => ({ weight: table.weight, sum: () => table.sum() })),
    ]) {
      const { name, shape, layout } = weight;
      const parameter = this.computed.get(name) ?? new Parameter(name, shape, layout);
      parameter.replace(sum());
      this.computed.set(name, parameter);
    }
  }

  /** The number of trained values. */
  get parameterCount(): number {
    return this.parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  }

  /** Disposes the parameters. Use `Adapters.remove` instead for an adapter that was added to a model. */
  dispose(): void {
    const others = [...this.computed.values(), ...this.untied.values()];
    for (const parameter of [...this.parameters, ...others]) parameter.dispose();
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
 * @throws UsageError for a DoRA adapter, and for one of tables of embeddings
 */
export function copyLora(model: Florence2Model, source: Lora): Lora {
  const what = source.dora ? 'A DoRA adapter' : source.embeddings.size > 0 ? 'An adapter of embeddings' : undefined;
  if (what) throw new UsageError(`${what} cannot be trained: merge it, and train a new one.`);
  const copy = new Lora(source.settings);
  for (const [module, { a, b, r, alpha }] of source.layers) {
    const layer = copy.adapt(module, model.adaptable.get(module)!.weight, r, alpha);
    layer.a.replace(tf.clone(a.value));
    layer.b.replace(tf.clone(b.value));
  }
  for (const parameter of source.own.values()) copy.replace(parameter).replace(tf.clone(parameter.value));
  for (const name of source.untied.keys()) copy.untie(model.parameters.get(name)!);
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
