import type { Activation } from '../activations/activation.ts';

/** Labels of this value take no part in the loss. */
export const IGNORED_LABEL = -100;

/**
 * Mean cross entropy of logits [..., V] against one label for each row, those of IGNORED_LABEL left out.
 *
 * @param vocabSize only the first rows of the vocabulary exist; default all
 */
export function meanCrossEntropy({ values, shape }: Activation, labels: Int32Array, vocabSize = shape.at(-1)!): number {
  const V = shape.at(-1)!;
  let sum = 0;
  let count = 0;
  labels.forEach((label, row) => {
    if (label === IGNORED_LABEL) return;
    const logits = values.subarray(row * V, row * V + vocabSize);
    const highest = logits.reduce((max, logit) => Math.max(max, logit), -Infinity);
    const mass = logits.reduce((total, logit) => total + Math.exp(logit - highest), 0);
    sum += highest + Math.log(mass) - logits[label];
    count++;
  });
  return sum / count;
}
