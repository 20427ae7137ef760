import * as tf from '@tensorflow/tfjs';
import type { Florence2Config } from '../config/model.ts';
import { type HookFn, HookRegistry } from '../hooks/hooks.ts';
import { withGradient } from '../nn/tape.ts';
import { randomIntegers } from '../random.ts';

/** Seeds the dropout masks of one batch. Equal seeds give equal masks, also when a block is recomputed. */
export interface DropoutSeed {
  seed: number;
  step: number;
  /** Index of the batch within the step. */
  batch: number;
}

/**
 * Returns hooks that apply dropout at the rates of config.json: BART's dropout after the embeddings, in attention
 * patterns, after GELU and at the end of each sublayer; and DaViT's drop path, which skips whole sublayers for random
 * images of a batch, at rates that grow with depth (stochastic depth, Huang et al. 2016).
 */
export function dropoutHooks(config: Florence2Config, at: DropoutSeed): HookRegistry {
  const hooks = new HookRegistry();
  addLanguageDropout(hooks, config, at);
  addDropPath(hooks, config, at);
  return hooks;
}

function addLanguageDropout(hooks: HookRegistry, { text }: Florence2Config, at: DropoutSeed): void {
  const stack = String.raw`^language_model\.(encoder|decoder)\.layers`;
  const rates: [RegExp, number][] = [
    [new RegExp(String.raw`${stack}\.0\.hook_resid_pre$`), text.dropout],
    [new RegExp(String.raw`${stack}\.\d+\.hook_(attn_out|cross_attn_out|mlp_out)$`), text.dropout],
    [new RegExp(String.raw`${stack}\.\d+\.(self|encoder)_attn\.hook_pattern$`), text.attentionDropout],
    [new RegExp(String.raw`${stack}\.\d+\.hook_post$`), text.activationDropout],
  ];
  for (const [points, rate] of rates) {
    if (rate > 0) {
      const drop: HookFn = (activation, { name }) => dropout(activation, rate, at, name);
      hooks.add(points, drop, { repeatable: true });
    }
  }
}

function addDropPath(hooks: HookRegistry, { vision }: Florence2Config, at: DropoutSeed): void {
  const paths = vision.depths.flatMap((depth, stage) =>
    Array.from({ length: depth }, (_, i) =>
      ['spatial_block', 'channel_block'].map(block => `vision_tower.blocks.${stage}.${i}.${block}`),
    ).flat(),
  );
  for (const [i, path] of paths.entries()) {
    const rate = (vision.dropPathRate * i) / Math.max(1, paths.length - 1);
    if (rate === 0) continue;
    const isEnd = (name: string): boolean => name === `${path}.hook_attn_out` || name === `${path}.hook_mlp_out`;
    hooks.add(isEnd, (activation, { name }) => {
      const [B, ...rest] = activation.shape;
      return maskAndScale(activation, [B, ...rest.map(() => 1)], rate, at, name);
    });
  }
}

/** Sets each element to 0 with probability `rate` and divides the others by 1 − rate. Srivastava et al. 2014. */
export function dropout<T extends tf.Tensor>(x: T, rate: number, seed: DropoutSeed, name: string): T {
  return maskAndScale(x, x.shape, rate, seed, name);
}

function maskAndScale<T extends tf.Tensor>(
  x: T,
  shape: number[],
  rate: number,
  { seed, step, batch }: DropoutSeed,
  name: string,
): T {
  if (rate === 0) return x;
  // The shape is part of the seed: a batch may run in two groups of rows, which must not get the same mask.
  const next = randomIntegers(seed, 'dropout', step, batch, name, x.shape.join());
  const threshold = Math.round(rate * 2 ** 16); // 16 random bits for each element: two from each integer
  const kept = new Uint8Array(shape.reduce((n, size) => n * size, 1));
  for (let i = 0; i < kept.length; i += 2) {
    const bits = next();
    kept[i] = bits >>> 16 < threshold ? 0 : 1;
    kept[i + 1] = (bits & 0xffff) < threshold ? 0 : 1; // ignored if the number of elements is odd
  }
  const masked = <R extends tf.Tensor>(t: R, mask: tf.Tensor): R =>
    tf.tidy(() => tf.mul(t, tf.mul(tf.cast(mask, 'float32'), 1 / (1 - rate)))) as R;
  // The gradient needs one byte for each element: the gradient of tf.mul would keep x and the mask in fp32.
  return withGradient(
    { x },
    save => {
      const mask = tf.tensor(kept, shape, 'bool');
      save([mask]);
      return masked(x, mask);
    },
    (dy, [mask]) => ({ x: () => masked(dy, mask) }),
  );
}
