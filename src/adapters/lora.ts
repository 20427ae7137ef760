import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { Florence2Model } from '../model/florence2_model.ts';
import { lowRankShapes } from '../nn/low_rank.ts';
import { type LowRank, Parameter } from '../nn/params.ts';
import { normalStream, randomStream } from '../random.ts';
import { elementCount } from '../weights/tensor_file.ts';
import {
  endsWithPattern,
  isWithin,
  matchModules,
  matchTargets,
  patternValue,
  type TargetOptions,
} from './target_modules.ts';

/** How an adapter is built. Names and defaults are those of PEFT's `LoraConfig`, but for the targets. */
export interface LoraOptions extends TargetOptions {
  /** Rank. Default 8. */
  r?: number;
  /** The adapter counts alpha / r times. Default 8. */
  alpha?: number;
  /** Share of a layer's inputs that the adapter does not see in a training step. Default 0. */
  dropout?: number;
  /** alpha / √r instead of alpha / r, which keeps large ranks learning. Kalajdzievski 2023. Default false. */
  rsLora?: boolean;
  /** Ranks of their own for modules whose names end with a regular expression; the first that matches counts. */
  rankPattern?: Record<string, number>;
  /** The same for alphas. */
  alphaPattern?: Record<string, number>;
  /** How A begins; B begins at zero, so a new adapter changes nothing. Default `kaiming`. */
  init?: LoraInit;
  /** Biases that are trained as well: none, those of adapted layers, or all. Default `none`. */
  bias?: LoraBias;
  /** Modules that are trained whole and saved with the adapter, by name or what it ends with after a dot. Default none. */
  modulesToSave?: string[];
  /** Of the initial values. Default 0. */
  seed?: number;
}

/** Uniform within ± 1/√(inputs of a row of A), or normal with a deviation of 1/r. */
export type LoraInit = 'kaiming' | 'gaussian';
export type LoraBias = 'none' | 'lora_only' | 'all';

/** What an adapter is built by and keeps: its layers, with ranks and alphas of their own, are in `layers`. */
export type LoraSettings = Required<Pick<LoraOptions, 'r' | 'alpha' | 'dropout' | 'rsLora' | 'init' | 'bias'>>;

export const loraDefaults: LoraSettings = {
  r: 8,
  alpha: 8,
  dropout: 0,
  rsLora: false,
  init: 'kaiming',
  bias: 'none',
};

/**
 * One LoRA adapter: a product of low rank for each of its layers, and values of its own for parameters that it replaces
 * (biases, modules that are trained whole). It belongs to the model that it was built for and has an effect there once
 * `Adapters` makes it active. Hu et al. 2021, https://arxiv.org/abs/2106.09685.
 */
export class Lora {
  /** How much of the adapter counts; 1 as trained. */
  scale = 1;
  /** Set by the trainer for the length of a step: drops inputs of the layer of this name, at `settings.dropout`. */
  inputDropout: (<T extends tf.Tensor>(x: T, name: string) => T) | null = null;
  /** By the canonical names of the modules. */
  readonly layers = new Map<string, LoraLayer>();
  /** What stands in for the model's parameters of the same names. */
  readonly own = new Map<string, Parameter>();

  constructor(readonly settings: LoraSettings) {}

  /** Declares A and B, still empty, for a layer with this weight. */
  adapt(module: string, weight: Parameter, r: number, alpha: number): LoraLayer {
    const layer = new LoraLayer(this, module, weight, r, alpha);
    this.layers.set(module, layer);
    return layer;
  }

  /** Declares a parameter, still empty, in place of the model's. */
  replace({ name, shape, layout }: Parameter): Parameter {
    const parameter = new Parameter(name, shape, layout);
    this.own.set(name, parameter);
    return parameter;
  }

  /** All that is trained and saved: `….lora_A.weight` and `….lora_B.weight` by layer, then the adapter's own. */
  get parameters(): Parameter[] {
    return [...[...this.layers.values()].flatMap(({ a, b }) => [a, b]), ...this.own.values()];
  }

  /** Numbers that are trained. */
  get parameterCount(): number {
    return this.parameters.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  }

  /** Frees the values. An adapter that is active must be removed from its model instead, see `Adapters`. */
  dispose(): void {
    for (const parameter of this.parameters) parameter.dispose();
  }
}

/** What a LoRA adds to one layer. */
export class LoraLayer implements LowRank {
  readonly a: Parameter;
  readonly b: Parameter;

  constructor(
    private readonly lora: Lora,
    readonly module: string,
    weight: Parameter,
    readonly r: number,
    readonly alpha: number,
  ) {
    const { a, b, layout } = lowRankShapes(weight, r);
    this.a = new Parameter(`${module}.lora_A.weight`, a, layout);
    this.b = new Parameter(`${module}.lora_B.weight`, b, layout);
  }

  get scale(): number {
    return (this.lora.scale * this.alpha) / (this.lora.settings.rsLora ? Math.sqrt(this.r) : this.r);
  }

  drop<T extends tf.Tensor>(x: T): T {
    return this.lora.inputDropout ? this.lora.inputDropout(x, this.module) : x;
  }
}

/**
 * A new adapter for a model. It changes no output until it has been trained. A module that is saved whole is not
 * adapted as well.
 *
 * @throws UsageError for a target, pattern or module to save that names nothing in the model, and for numbers out of range
 */
export function createLora(model: Florence2Model, options: LoraOptions): Lora {
  const { targets, exclude, rankPattern = {}, alphaPattern = {}, modulesToSave = [], seed = 0, ...given } = options;
  const settings: LoraSettings = { ...loraDefaults, ...defined(given) };
  checkSettings(settings, rankPattern, alphaPattern);
  const modules = matchTargets(model, { targets, exclude }).filter(
    name => !modulesToSave.some(saved => isWithin(name, saved)),
  );
  checkPatterns({ ...rankPattern, ...alphaPattern }, modules);
  const saved = matchModules(model, modulesToSave);
  const lora = new Lora(settings);
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
  return lora;
}

function initialValues({ name, shape }: Parameter, init: LoraInit, seed: number): Float32Array {
  const [r, ...row] = shape;
  const values = new Float32Array(elementCount(shape));
  if (init === 'gaussian') {
    const normal = normalStream(seed, 'lora', name);
    return values.map(() => normal() / r);
  }
  // PEFT calls it kaiming_uniform with a = √5, which comes to this bound.
  const bound = 1 / Math.sqrt(elementCount(row));
  const uniform = randomStream(seed, 'lora', name);
  return values.map(() => (2 * uniform() - 1) * bound);
}

function trainedBiases(model: Florence2Model, { settings, layers }: Lora): string[] {
  if (settings.bias === 'none') return [];
  const biases = [...model.parameters.keys()].filter(name => name.endsWith('.bias'));
  return settings.bias === 'all' ? biases : biases.filter(name => layers.has(name.slice(0, -'.bias'.length)));
}

function checkSettings(
  { r, alpha, dropout, init, bias }: LoraSettings,
  rankPattern: Record<string, number>,
  alphaPattern: Record<string, number>,
): void {
  const require = (valid: boolean, name: string, value: unknown, expected: string): void => {
    if (!valid) throw new UsageError(`LoRA: ${name} must be ${expected}, not ${JSON.stringify(value)}.`);
  };
  const withPattern = (name: string, common: number, pattern: Record<string, number>): [string, number][] => [
    [name, common],
    ...Object.entries(pattern).map(([key, value]): [string, number] => [`${name} of ${key}`, value]),
  ];
  for (const [name, value] of withPattern('r', r, rankPattern)) {
    require(Number.isSafeInteger(value) && value >= 1, name, value, 'a whole number from 1');
  }
  for (const [name, value] of withPattern('alpha', alpha, alphaPattern)) {
    require(Number.isFinite(value) && value > 0, name, value, 'a number above 0');
  }
  require(dropout >= 0 && dropout < 1, 'dropout', dropout, 'at least 0 and below 1');
  require(['kaiming', 'gaussian'].includes(init), 'init', init, 'kaiming or gaussian');
  require(['none', 'lora_only', 'all'].includes(bias), 'bias', bias, 'none, lora_only or all');
}

function checkPatterns(patterns: Record<string, number>, modules: string[]): void {
  for (const pattern of Object.keys(patterns)) {
    if (modules.some(module => endsWithPattern(pattern, module))) continue;
    throw new UsageError(`LoRA: the rank or alpha pattern ${pattern} matches none of the adapted layers.`);
  }
}

/** Without the options that are given as undefined, which mean the default. */
function defined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}
