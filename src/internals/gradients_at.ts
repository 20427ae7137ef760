import * as tf from '@tensorflow/tfjs';
import { ActivationCache } from '../activations/cache.ts';
import { Florence2Error } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { WantedPoints } from '../hooks/capture.ts';
import { type HookFilter, matcher } from '../hooks/filter.ts';
import type { HookRegistry } from '../hooks/hooks.ts';
import { gradientsOf } from '../nn/tape.ts';
import type { Metric } from './logit_metrics.ts';
import { type ForcedOptions, forcedLogits, type Question, repeat } from './question.ts';

export type { Metric, RowMetric } from './logit_metrics.ts';

/** What `gradientsAt` calls the image that goes in, beside the hook points. */
export const PIXELS = 'pixels';

/**
 * The gradient of a metric of the logits with respect to the activation at each point, in the activation's shape;
 * `pixels` is the normalised image itself. The pass runs with the model's hooks: gradients are with respect to what they
 * leave at a point, and flow through what they compute. The caller disposes the cache.
 *
 * Zeros are added at each point, and the gradients are those of the zeros.
 *
 * @throws UsageError for a name that the pass has no point of, Florence2Error where the backend lacks a gradient: wasm
 *   has none of convolutions, which lie between the vision tower's points and the logits
 */
export function gradientsAt(
  model: Florence2,
  question: Question,
  metric: Metric,
  names: HookFilter,
  options: ForcedOptions = {},
): ActivationCache {
  const { pixels = question.pixels, rows } = options;
  const fromPixels = matcher(names)(PIXELS);
  return gradientsOfPass(
    model.hooks,
    input => {
      const forced = fromPixels ? { ...options, pixels: input(PIXELS, repeat(pixels, rows)) } : options;
      return metric(forcedLogits(model, question, forced), question);
    },
    names,
  );
}

/**
 * The same for any pass with these hooks: the gradient of the sum of what it returns.
 *
 * @param pass is given a function through which it takes what goes in, for what shall have a gradient beside hook points
 */
export function gradientsOfPass(
  hooks: HookRegistry,
  pass: (input: <T extends tf.Tensor>(name: string, x: T) => T) => tf.Tensor,
  names: HookFilter,
): ActivationCache {
  const wanted = new WantedPoints(names);
  const watched = new Map<string, { id: number; shape: number[] }>(); // by name
  const cache = new ActivationCache();
  try {
    tf.tidy(() => {
      const gradients = gradientsOf(watch => {
        const note = <T extends tf.Tensor>(name: string, x: T): T => {
          if (!wanted.has(name)) return x;
          wanted.meet(name);
          watch(x);
          watched.set(name, { id: x.id, shape: x.shape });
          return x;
        };
        const remove = hooks.add(
          name => wanted.has(name),
          (activation, { name }) => tf.add(activation, note(name, tf.zeros(activation.shape))),
        );
        try {
          return tf.sum(pass(note));
        } finally {
          remove();
        }
      }, tf.scalar(1));
      wanted.requireAll();
      for (const [name, { id, shape }] of watched) cache.put(name, undefined, gradients.get(id) ?? tf.zeros(shape));
    });
    return cache;
  } catch (error) {
    cache.dispose();
    throw explainMissingKernel(error);
  }
}

/** tfjs says of a gradient that it lacks which kernel is not there. */
function explainMissingKernel(error: unknown): unknown {
  const missing =
    error instanceof Error && /^Kernel '(\w+)' not registered|^(\w+) has no gradient\./.exec(error.message);
  if (!missing) return error;
  return new Florence2Error(
    `The ${tf.getBackend()} backend cannot compute these gradients: it has no ${missing[1] ?? `gradient of ${missing[2]}`}. Use tensorflow, webgpu or cpu.`,
  );
}
