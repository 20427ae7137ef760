import * as tf from '@tensorflow/tfjs';
import { ActivationCache, HEADED } from '../activations/cache.ts';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { ScopedHook } from '../hooks/hooks.ts';
import { checkKind, type Kind } from '../options.ts';
import { activationOf, mismatch, type Replacement, replaceAt } from './intervention.ts';
import { checkSite, type Site } from './site.ts';

/**
 * Returns hooks that ablate activations, for `Florence2.withHooks` or `runWithHooks`. Any hook point can be a site:
 * heads at `hook_z`, sublayers at `hook_attn_out`, `hook_cross_attn_out` or `hook_mlp_out`, channel groups at
 * `channel_attn.hook_z`, image regions at `hook_image_features` or `vision_tower.hook_pixels`.
 *
 * @param by the values that replace the activations. Default: zeros
 * @throws UsageError for a site whose `at` matches no hook point
 */
export function ablate(
  model: Florence2,
  sites: Site | readonly Site[],
  by: Replacement = zeroAblation(),
): ScopedHook[] {
  const list = [sites].flat() as Site[];
  for (const site of list) checkSite(model, site);
  return list.map(site => replaceAt(model.config.vision, [site], by));
}

/**
 * Replaces activations by zeros. Zeros may lie far outside the activations that the model has seen in training; mean
 * and resample ablation stay closer to them. For pixels, zero is the mean colour.
 */
export function zeroAblation(): Replacement {
  return () => null;
}

/**
 * Replaces activations by their mean over the given caches and all positions, which removes what varies with the input.
 */
export function meanAblation(caches: ActivationCache | readonly ActivationCache[]): Replacement {
  const given = listOf(caches);
  return ({ name }) => meanActivation(given, name);
}

/**
 * Replaces activations by those of another question, which must have the same number of positions at that point. With
 * several caches, row i of a batch takes cache i modulo their number.
 */
export function resampleAblation(caches: ActivationCache | readonly ActivationCache[]): Replacement {
  const others = listOf(caches);
  return (point, shape) => {
    const known = others.map(cache => activationOf(cache, point));
    if (known.length === 1) return known[0];
    const [rows, ...rest] = shape;
    const other = known.find(x => String(x.shape.slice(1)) !== String(rest));
    if (other) throw mismatch(other, shape, point.name);
    const each = known[0].shape[0]; // 1, or the number of windows per image
    return tf.concat(Array.from({ length: Math.max(1, rows / each) }, (_, row) => known[row % known.length]));
  };
}

/**
 * Returns the mean activation at a point over all rows, positions and steps of the caches, each with equal weight:
 * [heads, 1, d] for points with heads, [C] for all others. The caller disposes it.
 *
 * @param positions sequence positions to average over; negative ones count from the end. Default: all
 * @throws UsageError if a cache has no activation at the point, or a position does not exist
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
  if (!HEADED.test(name) && x.rank !== 3) throw new UsageError(`${name} is not a sequence; its shape is [${x.shape}].`);
  const length: number = x.shape[axis]!;
  for (const position of positions) {
    if (!(Number.isInteger(position) && position >= -length && position < length)) {
      throw new UsageError(`Position ${position} does not exist at ${name}; positions are 0 to ${length - 1}.`);
    }
  }
  const indices = positions.map(position => (position < 0 ? length + position : position));
  return tf.gather(x, tf.tensor1d(indices, 'int32'), axis);
}

const CACHES: Kind = {
  expected: 'an ActivationCache, or a list of them',
  allows: list => Array.isArray(list) && list.every(one => one instanceof ActivationCache),
};

function listOf(caches: ActivationCache | readonly ActivationCache[]): readonly ActivationCache[] {
  const list = caches instanceof ActivationCache ? [caches] : caches;
  checkKind('caches', list, CACHES);
  if (list.length === 0) throw new UsageError('No activation caches were given.');
  return list;
}
