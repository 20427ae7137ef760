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
