import * as tf from '@tensorflow/tfjs';
import type { ActivationCache } from '../activations/cache.ts';
import type { VisionConfig } from '../config/model.ts';
import { UsageError } from '../errors.ts';
import type { HookPoint, ScopedHook } from '../hooks/hooks.ts';
import { type Site, siteMask } from './site.ts';

/**
 * What is put in place of an activation: a tensor that broadcasts to its shape, null for zeros. It is called within a
 * `tf.tidy`.
 */
export type Replacement = (point: HookPoint, shape: readonly number[]) => tf.Tensor | null;

/**
 * A hook that puts something in place of activations, at a site of each row: x becomes (1 − m) x + m r, where the mask m
 * is 0 or 1, so that what is not replaced stays as it is to the last bit.
 *
 * @param sites of each row, all of the points of the first; or one for all rows
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

/** The activation that a cache has of a point: of this step, where it has several. */
export function activationOf(cache: ActivationCache, { name, step }: HookPoint): tf.Tensor {
  return cache.steps(name).length > 0 && step !== undefined ? cache.get(name, { step }) : cache.get(name);
}

/** A tensor of one row, or of as many as the activation has, in a form that broadcasts to it. */
function fitted(put: tf.Tensor, shape: readonly number[], { name }: HookPoint): tf.Tensor {
  const leading = shape.length - put.rank;
  const fits = leading >= 0 && put.shape.every((size, axis) => size === 1 || size === shape[leading + axis]);
  if (fits) return put;
  const sameRest = leading === 0 && put.shape.every((size, axis) => axis === 0 || size === shape[axis]);
  const times = shape[0] / put.shape[0];
  if (sameRest && Number.isInteger(times)) return tf.tile(put, [times, ...shape.slice(1).map(() => 1)]); // windows of each image
  throw mismatch(put, shape, name);
}

export const mismatch = (put: tf.Tensor, shape: readonly number[], name: string): UsageError =>
  new UsageError(
    `At ${name} the activation is [${shape}], and what shall replace it [${put.shape}]: questions must be of the same length there.`,
  );
