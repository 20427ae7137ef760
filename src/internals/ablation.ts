import * as tf from '@tensorflow/tfjs';
import { ActivationCache, HEADED } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { ScopedHook } from '../hooks/hooks.ts';
import { activationOf, mismatch, type Replacement, replaceAt } from './intervention.ts';
import type { Site } from './site.ts';

/**
 * Hooks that take activations out of the computation: heads at `hook_z`, sublayers at `hook_attn_out`,
 * `hook_cross_attn_out` or `hook_mlp_out`, groups of channels at `channel_attn.hook_z`, parts of the image at
 * `hook_image_features` or `vision_tower.hook_pixels`; and any other point.
 *
 * @param by what stands there instead, default zeros
 */
export function ablate(
  model: Florence2,
  sites: Site | readonly Site[],
  by: Replacement = zeroAblation(),
): ScopedHook[] {
  return [sites].flat().map(site => replaceAt(model.config.vision, [site as Site], by));
}

/** Nothing at all, which the model may never have met: the crudest replacement. Of pixels zero is the mean colour. */
export function zeroAblation(): Replacement {
  return () => null;
}

/** The mean of activations of other questions, over all positions: what is left is what is always the same. */
export function meanAblation(caches: ActivationCache | readonly ActivationCache[]): Replacement {
  return ({ name }) => meanActivation(caches, name);
}

/**
 * The activations of another question, which must have as many positions there. Of several caches row i of a batch
 * takes the i-th, and so on again.
 */
export function resampleAblation(caches: ActivationCache | readonly ActivationCache[]): Replacement {
  const others = listOf(caches);
  return (point, shape) => {
    const known = others.map(cache => activationOf(cache, point));
    if (known.length === 1) return known[0];
    const [rows, ...rest] = shape;
    const other = known.find(x => String(x.shape.slice(1)) !== String(rest));
    if (other) throw mismatch(other, shape, point.name);
    const each = known[0].shape[0]; // 1, or the windows of an image
    return tf.concat(Array.from({ length: Math.max(1, rows / each) }, (_, row) => known[row % known.length]));
  };
}

/**
 * The mean of the activations at a point over rows and positions (and steps), each counted once: of points with heads
 * [heads, 1, d], otherwise [C]. The caller disposes it.
 *
 * @param positions only these, of sequences; negative ones count from the end
 */
export function meanActivation(
  caches: ActivationCache | readonly ActivationCache[],
  name: string,
  positions?: readonly number[],
): tf.Tensor {
  const isHeaded = HEADED.test(name);
  return tf.tidy(() => {
    const all = listOf(caches).flatMap(cache => {
      const steps = cache.steps(name);
      return steps.length > 0 ? steps.map(step => cache.get(name, { step })) : [cache.get(name)];
    });
    const chosen = positions ? all.map(x => atPositions(x, name, positions)) : all;
    const axes = (x: tf.Tensor) => x.shape.map((_, axis) => axis).filter(axis => axis < x.rank - 1);
    const pooled = chosen.map(x => axes(x).filter(axis => !(isHeaded && axis === 1)));
    const sums = chosen.map((x, i) => tf.sum(x, pooled[i])); // [heads, d] or [C]
    const count = chosen.reduce((sum, x, i) => sum + pooled[i].reduce((n, axis) => n * x.shape[axis], 1), 0);
    const mean = tf.div(
      sums.reduce((a, b) => tf.add(a, b)),
      count,
    );
    return isHeaded ? tf.expandDims(mean, 1) : mean;
  });
}

function atPositions(x: tf.Tensor, name: string, positions: readonly number[]): tf.Tensor {
  const axis = HEADED.test(name) ? 2 : 1;
  if (!HEADED.test(name) && x.rank !== 3) throw new UsageError(`${name} is no sequence: its shape is [${x.shape}].`);
  const length: number = x.shape[axis]!;
  for (const position of positions) {
    if (!(Number.isInteger(position) && position >= -length && position < length)) {
      throw new UsageError(`${name} has positions 0 to ${length - 1}, not ${position}.`);
    }
  }
  const indices = positions.map(position => (position < 0 ? length + position : position));
  return tf.gather(x, tf.tensor1d(indices, 'int32'), axis);
}

function listOf(caches: ActivationCache | readonly ActivationCache[]): readonly ActivationCache[] {
  const list = caches instanceof ActivationCache ? [caches] : caches;
  if (list.length === 0) throw new UsageError('No activations of other questions were given.');
  return list;
}
