import * as tf from '@tensorflow/tfjs';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { ScopedHook } from '../hooks/hooks.ts';
import { checkKind, checkOptions, finite, instanceOf } from '../options.ts';
import { meanActivation } from './ablation.ts';
import { checkSite, POSITIONS, type Site, siteMask } from './site.ts';

/**
 * Returns the difference between the mean activations of two sets of questions, mean(a) − mean(b): [heads, 1, d] for
 * points with heads, [C] for all others. The caller disposes it.
 *
 * @param name the hook point
 * @param options.positions sequence positions to average over; negative ones count from the end. Default: all
 * @throws UsageError if a cache has no activation at the point, or a position does not exist
 */
export function steeringVector(
  a: ActivationCache | readonly ActivationCache[],
  b: ActivationCache | readonly ActivationCache[],
  name: string,
  options: Pick<Site, 'positions'> = {},
): tf.Tensor {
  checkOptions('steeringVector', options, { positions: POSITIONS });
  const { positions } = options;
  return tf.tidy(() => tf.sub(meanActivation(a, name, positions), meanActivation(b, name, positions)));
}

/**
 * Returns hooks, for `Florence2.withHooks` or `runWithHooks`, that add a vector to activations: x + scale · vector.
 * Without heads and positions in the site, it is added at all of them. Turner et al. 2023,
 * https://arxiv.org/abs/2308.10248.
 *
 * @param vector a tensor that broadcasts to the activation: [C], or [heads, 1, d] at points with heads. It must not be
 *   disposed while the hooks are in use
 * @param options.scale factor of the vector. Default 1
 * @throws UsageError if `at` of the site matches no hook point
 */
export function steer(model: Florence2, site: Site, vector: tf.Tensor, options: { scale?: number } = {}): ScopedHook[] {
  checkSite(model, site);
  checkOptions('steer', options, { scale: finite });
  checkKind('vector', vector, instanceOf(tf.Tensor, 'a tensor'));
  const { scale = 1 } = options;
  const add: ScopedHook[1] = (x, point) => {
    const leading = x.rank - vector.rank;
    const fits = leading >= 0 && vector.shape.every((size, axis) => size === 1 || size === x.shape[leading + axis]);
    if (!fits)
      throw new UsageError(
        `The vector [${vector.shape}] does not broadcast to the activation [${x.shape}] at ${point.name}.`,
      );
    return tf.tidy(() =>
      tf.add(x, tf.mul(tf.mul(vector, scale), siteMask(model.config.vision, [site], point, x.shape))),
    );
  };
  return [[site.at, add]];
}
