import * as tf from '@tensorflow/tfjs';
import type { ActivationCache } from '../activations/cache.ts';
import type { VisionConfig } from '../config/model.ts';
import { UsageError } from '../errors.ts';
import type { HookPoint, ScopedHook } from '../hooks/hooks.ts';
import { type Site, siteMask } from './site.ts';

/**
 * Returns the tensor that replaces an activation: one that broadcasts to `shape`, or null for zeros. Called inside a
 * `tf.tidy`.
 */
export type Replacement = (point: HookPoint, shape: readonly number[]) => tf.Tensor | null;

/**
 * Returns a hook that replaces activations at the sites: x becomes (1 − m) x + m r. The mask m is 0 or 1, so the other
 * activations stay bit-identical.
 *
 * @param sites one per row of the batch, null for rows that stay unchanged, or a single site for all rows. All sites
 *   have the hook points of the first that is not null
 */
export function replaceAt(config: VisionConfig, sites: readonly (Site | null)[], by: Replacement): ScopedHook {
  const { at } = sites.find(site => site)!;
  return [
    at,
    (x, point) =>
      tf.tidy(() => {
        const mask = siteMask(config, sites, point, x.shape);
        const kept = tf.mul(x, tf.sub(1, mask));
        const put = by(point, x.shape);
        return put ? tf.add(kept, tf.mul(fitted(put, x.shape, point), mask)) : kept;
      }),
  ];
}

/** Returns a cached activation: that of the current step if the cache holds steps of the point. */
export function activationOf(cache: ActivationCache, { name, step }: HookPoint): tf.Tensor {
  return cache.steps(name).length > 0 && step !== undefined ? cache.get(name, { step }) : cache.get(name);
}

/** Returns `put` in a form that broadcasts to `shape`: unchanged, or repeated along the first axis. */
function fitted(put: tf.Tensor, shape: readonly number[], { name }: HookPoint): tf.Tensor {
  const leading = shape.length - put.rank;
  const fits = leading >= 0 && put.shape.every((size, axis) => size === 1 || size === shape[leading + axis]);
  if (fits) return put;
  const sameRest = leading === 0 && put.shape.every((size, axis) => axis === 0 || size === shape[axis]);
  const times = shape[0] / put.shape[0];
  if (sameRest && Number.isInteger(times)) return tf.tile(put, [times, ...shape.slice(1).map(() => 1)]); // an image's windows, for each image
  throw mismatch(put, shape, name);
}

export const mismatch = (put: tf.Tensor, shape: readonly number[], name: string): UsageError =>
  new UsageError(
    `The activation at ${name} is [${shape}], its replacement [${put.shape}]: both questions must have the same length there.`,
  );
