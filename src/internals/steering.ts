import * as tf from '@tensorflow/tfjs';
import type { ActivationCache } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { ScopedHook } from '../hooks/hooks.ts';
import { meanActivation } from './ablation.ts';
import { type Site, siteMask } from './site.ts';

/**
 * The direction from the activations of some questions to those of others: mean of A − mean of B, each over all rows and
 * positions. [C], of points with heads [heads, 1, d]. The caller disposes it.
 *
 * @param options.positions only these, of sequences; negative ones count from the end
 */
export function steeringVector(
  a: ActivationCache | readonly ActivationCache[],
  b: ActivationCache | readonly ActivationCache[],
  name: string,
  { positions }: { positions?: readonly number[] } = {},
): tf.Tensor {
  return tf.tidy(() => tf.sub(meanActivation(a, name, positions), meanActivation(b, name, positions)));
}

/**
 * A hook that adds a vector to activations, x + scale · v: at all positions and heads of the points, or at those that the
 * site names. Turner et al. 2023, https://arxiv.org/abs/2308.10248.
 *
 * @param vector broadcasts to the activation: [C], or of points with heads [heads, 1, d]. It must live as long as the hook
 */
export function steer(
  model: Florence2,
  site: Site,
  vector: tf.Tensor,
  { scale = 1 }: { scale?: number } = {},
): ScopedHook[] {
  const add: ScopedHook[1] = (x, point) => {
    const leading = x.rank - vector.rank;
    const fits = leading >= 0 && vector.shape.every((size, axis) => size === 1 || size === x.shape[leading + axis]);
    if (!fits) throw new UsageError(`The vector [${vector.shape}] cannot be added at ${point.name}: [${x.shape}].`);
    return tf.tidy(() =>
      tf.add(x, tf.mul(tf.mul(vector, scale), siteMask(model.config.vision, [site], point, x.shape))),
    );
  };
  return [[site.at, add]];
}
