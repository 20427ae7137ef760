import { join } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { readTextFile } from '../files/whole_file.ts';
import { parseJsonObject } from '../json.ts';
import { show } from '../show.ts';
import type { AdamWOptions } from '../training/optimizer.ts';

/** The record of one training in PyTorch. Every step used the same batch, without dropout. */
export interface TrainingRecord {
  /** Path of the record, relative to the reference folder. */
  readonly file: string;
  readonly learningRate: number;
  readonly adamW: Required<Pick<AdamWOptions, 'betas' | 'epsilon' | 'weightDecay'>>;
  readonly maxGradNorm: number;
  /** True if all parameters were trained. */
  readonly whole: boolean;
  /** Prefixes of the names of frozen parameters. */
  readonly freeze: string[];
  /** Loss before each step, and after the last one. */
  readonly losses: number[];
  /** Norm of all gradients in each step, before clipping. */
  readonly gradNorms: number[];
  /** Native names of parameters with exact gradients of zero, which AdamW moves by rounding errors. */
  readonly roundingNoise: ReadonlySet<string>;
}

/** Matches `AdamW lr=0.001 betas=(0.9,0.999) eps=1e-8 weight_decay=0.01 (all parameters), global grad norm clip 1.0` */
const OPTIMIZER =
  /^AdamW lr=([\d.e-]+) betas=\(([\d.]+),([\d.]+)\) eps=([\d.e-]+) weight_decay=([\d.e-]+\d)\b.*\bclip ([\d.]+)/;

/**
 * Reads the expected.json of a training.
 *
 * @throws Florence2Error naming the file and the field that is wrong
 */
export async function readRecord(folder: string, training: string): Promise<TrainingRecord> {
  const file = `${training}/expected.json`;
  const path = join(folder, file);
  const text = await readTextFile(path);
  const json = parseJsonObject(text, path);
  const fail = (field: string, expected: string): never => {
    throw new Florence2Error(`${path}: ${field} is ${show(json[field])}, expected ${expected}.`);
  };
  const optimizer = OPTIMIZER.exec(String(json.optimizer)) ?? fail('optimizer', 'AdamW with its settings');
  const [learningRate, beta1, beta2, epsilon, weightDecay, maxGradNorm] = optimizer.slice(1).map(Number);
  const { trainable, rounding_noise_parameters: noise = [] } = json; // for an adapter, `trainable` is the number of parameters
  const frozen = /^all but (\S+)\.\*/.exec(String(trainable))?.[1];
  if (!frozen && !(typeof trainable === 'number' || trainable === 'all parameters')) {
    fail('trainable', '"all parameters" or "all but NAME.*"');
  }
  const losses = json.loss_before_each_step_and_after_last;
  if (!isNumbers(losses) || losses.length < 2) return fail('loss_before_each_step_and_after_last', 'losses');
  const gradNorms = json.grad_norm_before_clip;
  if (!isNumbers(gradNorms) || gradNorms.length !== losses.length - 1) {
    return fail('grad_norm_before_clip', 'a number for each step');
  }
  if (!Array.isArray(noise) || !noise.every(name => typeof name === 'string')) {
    return fail('rounding_noise_parameters', 'names');
  }
  return {
    file,
    learningRate,
    adamW: { betas: [beta1, beta2], epsilon, weightDecay },
    maxGradNorm,
    whole: trainable === 'all parameters',
    freeze: frozen ? [frozen] : [],
    losses,
    gradNorms,
    roundingNoise: new Set(noise),
  };
}

const isNumbers = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isFinite);
