import * as tf from '@tensorflow/tfjs';
import { ActivationCache } from '../activations/cache.ts';
import { Florence2Error } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import { WantedPoints } from '../hooks/capture.ts';
import { type HookFilter, matcher } from '../hooks/filter.ts';
import type { HookFn, ScopedHook } from '../hooks/hooks.ts';
import { gradientsOf } from '../nn/tape.ts';
import { callback, checkKind, checkOptions } from '../options.ts';
import { FORCED_OPTIONS, type ForcedOptions, forcedLogits, repeat } from './forced_pass.ts';
import type { Metric } from './logit_metrics.ts';
import { QUESTION, type Question } from './question.ts';

export type { Metric, RowMetric } from './logit_metrics.ts';

/** The name under which `gradientsAt` returns the gradient of the input image. It is not a hook point. */
export const PIXELS = 'pixels';

/**
 * Returns the gradient of a metric of the logits with respect to the activation at each matching hook point, in the
 * activation's shape. The name `pixels` stands for the normalised image. The model's hooks run in the pass: a gradient
 * is with respect to the activation after the hooks at its point, and it flows through the computations of hooks at
 * later points. The caller disposes the cache.
 *
 * A zero tensor is added to each activation, and the gradient with respect to that tensor is taken.
 *
 * @param names hook points, `pixels`, or patterns that match them
 * @throws UsageError for a name or pattern that matches no point of the pass, Florence2Error if the backend lacks a
 *   gradient: wasm has none for convolutions, through which the gradients of most vision points flow
 */
export function gradientsAt(
  model: Florence2,
  question: Question,
  metric: Metric,
  names: HookFilter,
  options: ForcedOptions = {},
): ActivationCache {
  checkOptions('gradientsAt', options, FORCED_OPTIONS);
  checkKind('question', question, QUESTION);
  checkKind('metric', metric, callback);
  const { pixels = question.pixels, rows } = options;
  const fromPixels = matcher(names)(PIXELS);
  return model.tidy(() =>
    gradientsOfPass((input, hook) => {
      const forced = fromPixels ? { ...options, pixels: input(PIXELS, repeat(pixels, rows)) } : options;
      return metric(forcedLogits(model.withHooks([hook]), question, forced), question);
    }, names),
  );
}

/**
 * Returns the gradients of the sum of the tensor that a pass returns.
 *
 * @param pass computes the tensor with a hook, which must be the last; it passes each input that needs a gradient
 *   through `input`, under a name
 * @param names hook points or inputs, or patterns that match them
 */
export function gradientsOfPass(
  pass: (input: <T extends tf.Tensor>(name: string, x: T) => T, hook: ScopedHook) => tf.Tensor,
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
        const addZero: HookFn = (x, { name }) => tf.add(x, note(name, tf.zeros(x.shape)));
        return tf.sum(pass(note, [name => wanted.has(name), addZero]));
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

/**
 * Rewrites the error that tfjs throws when a backend lacks the kernel of a gradient. Other errors are returned
 * unchanged.
 */
function explainMissingKernel(error: unknown): unknown {
  const missing =
    error instanceof Error && /^Kernel '(\w+)' not registered|^(\w+) has no gradient\./.exec(error.message);
  if (!missing) return error;
  return new Florence2Error(
    `The ${tf.getBackend()} backend cannot compute these gradients: it lacks ${missing[1] ?? `the gradient of ${missing[2]}`}. Use tensorflow, webgpu or cpu.`,
  );
}
