/** A kind of activation: what two fp32 implementations may differ by, as measured on tiny random checkpoints. */
interface Kind {
  /** Largest root mean square of the tensors that were measured. */
  readonly rms: number;
  /** Largest difference between PyTorch's own fp32 and fp64. */
  readonly precision: number;
  /** Largest difference that is allowed at that size. */
  readonly maxAbs: number;
}

const KINDS = {
  vision: { rms: 4, precision: 2e-5, maxAbs: 1e-4 },
  projector: { rms: 4, precision: 1.3e-5, maxAbs: 1e-4 },
  features: { rms: 1, precision: 4e-6, maxAbs: 3e-5 },
  encoder: { rms: 1, precision: 5e-6, maxAbs: 3e-5 },
  decoder: { rms: 1, precision: 6e-6, maxAbs: 4e-5 },
  ffn: { rms: 5, precision: 1.9e-5, maxAbs: 1e-4 },
  attention: { rms: 0.3, precision: 2e-6, maxAbs: 2e-5 },
  cache: { rms: 3, precision: 1.1e-5, maxAbs: 5e-5 },
  logits: { rms: 2.4, precision: 1.3e-5, maxAbs: 8e-5 },
  loss: { rms: 10, precision: 2e-6, maxAbs: 2e-5 },
  score: { rms: 2, precision: 2.3e-5, maxAbs: 1.5e-4 },
} satisfies Record<string, Kind>;

export type ToleranceKind = keyof typeof KINDS;

/** Names of dumped tensors, first match first. */
const NAMES: [pattern: RegExp, kind: ToleranceKind][] = [
  [/^vision\./, 'vision'],
  [/^projector\.(pooled|projected)$/, 'projector'],
  [/^(projector\.|encoder\.inputs_embeds$)/, 'features'],
  [/^(encoder|decoder)\..*_attn_weights$/, 'attention'],
  [/^(encoder|decoder)\..*\.ffn$/, 'ffn'],
  [/^encoder\./, 'encoder'],
  [/^decoder\./, 'decoder'],
  [/(^|\.)(self|cross)\.(key|value)$/, 'cache'],
  [/(^|\.)logits/, 'logits'],
  [/^loss/, 'loss'],
];

/**
 * The largest difference (max abs) allowed for a dumped tensor.
 *
 * Each kind has a base, twice and more what PyTorch's fp32 and fp64, and transformers and Microsoft's code, differ by on
 * tensors of a known size. A difference grows with the values it is a difference of, and with what fp32 makes of them.
 * So the base is multiplied by the larger of two ratios, and by neither where it is below 1:
 * the tensor's rms to the kind's, and its recorded fp32-fp64 difference to the kind's.
 *
 * @returns undefined for a name of no known kind
 */
export function tensorTolerance(tensor: { name: string; rms: number; precision: number }): number | undefined {
  const kind = NAMES.find(([pattern]) => pattern.test(tensor.name))?.[1];
  return kind && tolerance(kind, tensor.rms, tensor.precision);
}

/** The same for a sequence's score, of which only the fp64 value is recorded: |fp32 - fp64| of the reference. */
export const scoreTolerance = (precision: number): number => tolerance('score', 0, precision);

function tolerance(kind: ToleranceKind, rms: number, precision: number): number {
  const base = KINDS[kind];
  return base.maxAbs * Math.max(1, rms / base.rms, precision / base.precision);
}

/**
 * What two fp32 implementations of a training may differ by: 5 and more times what PyTorch's own fp32 and fp64 differ by
 * on a tiny checkpoint, over three steps.
 */

/** Of a gradient: largest difference by the root mean square of the tensor. */
export const GRADIENT = 5e-4;

/** Of a gradient that would be zero but for rounding: its size. */
export const ROUNDING = 1e-7;

/** Of the norm of all gradients, relative: no more than that of each of them. */
export const GRAD_NORM = GRADIENT;

/** Of a loss; a large learning rate on all parameters carries differences further. */
export const trainingLoss = ({ whole, learningRate }: { whole: boolean; learningRate: number }): number =>
  whole && learningRate >= 1e-3 ? 5e-4 : 1e-4;

/** Of parameters after three steps, differences counted in learning rates: which share of them all may exceed what. */
export const PARAMETERS = [
  { beyond: 0.01, share: 0.01 },
  { beyond: 0.2, share: 0.002 },
  { beyond: 3, share: 0 },
];

/** The same for each tensor alone, of which one in a large network may be lost on all: half of it may exceed it. */
export const PARAMETER = { beyond: 0.01, share: 0.5 };

/** Of logits: without an adapter, with a given one (switched on or merged), and with one that was trained here. */
export const LOGITS = { base: 8e-5, given: 1e-4, trained: 1e-3 };
