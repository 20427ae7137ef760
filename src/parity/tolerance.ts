/** The tolerance of a kind of activation between two fp32 implementations, measured on tiny random checkpoints. */
interface Kind {
  /** Largest root mean square among the measured tensors. */
  readonly rms: number;
  /** Largest difference between PyTorch's fp32 and fp64 values. */
  readonly precision: number;
  /** Largest allowed difference for tensors of that size. */
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

/** Kinds by the names of dumped tensors. The first match decides. */
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
 * Returns the largest allowed difference (max abs) of a dumped tensor, or undefined for a name of unknown kind.
 *
 * The base tolerance of each kind is at least twice the differences between PyTorch's fp32 and fp64, and between
 * transformers and Microsoft's code, on tensors of a known size. Differences grow with the size of the values and with
 * the rounding errors of fp32. The base is therefore multiplied by the largest of 1, the tensor's rms over the kind's,
 * and the tensor's recorded fp32-fp64 difference over the kind's.
 */
export function tensorTolerance(tensor: { name: string; rms: number; precision: number }): number | undefined {
  const kind = NAMES.find(([pattern]) => pattern.test(tensor.name))?.[1];
  return kind && tolerance(kind, tensor.rms, tensor.precision);
}

/** Returns the tolerance of a sequence's score. @param precision |fp32 − fp64| of the reference's score */
export const scoreTolerance = (precision: number): number => tolerance('score', 0, precision);

function tolerance(kind: ToleranceKind, rms: number, precision: number): number {
  const base = KINDS[kind];
  return base.maxAbs * Math.max(1, rms / base.rms, precision / base.precision);
}

// Tolerances between two fp32 implementations of a training: at least 5 times the difference between PyTorch's fp32 and
// fp64 on a tiny checkpoint, over three steps.

/** Of a gradient: largest difference divided by the root mean square of the tensor. */
export const GRADIENT = 5e-4;

/** Of a gradient that is exactly zero without rounding: its absolute value. */
export const ROUNDING = 1e-7;

/** Of the norm of all gradients, relative. */
export const GRAD_NORM = GRADIENT;

/** Of a loss. A large learning rate on all parameters amplifies differences. */
export const trainingLoss = ({ whole, learningRate }: { whole: boolean; learningRate: number }): number =>
  whole && learningRate >= 1e-3 ? 5e-4 : 1e-4;

/** Of all parameters after three steps: the share that may differ by more than `beyond` learning rates. */
export const PARAMETERS = [
  { beyond: 0.01, share: 0.01 },
  { beyond: 0.2, share: 0.002 },
  { beyond: 3, share: 0 },
];

/** The same for each tensor, because the limits for all parameters would miss one wrong tensor in a large network. */
export const PARAMETER = { beyond: 0.01, share: 0.5 };

/** Of logits: without an adapter, with PyTorch's adapter (active or merged), and with an adapter trained here. */
export const LOGITS = { base: 8e-5, given: 1e-4, trained: 1e-3 };
