import * as tf from '@tensorflow/tfjs';
import type { Florence2Config } from '../config.ts';
import type { HookRegistry } from '../internals/hooks.ts';
import { randomIntegers } from './random.ts';

/** Which step of which run draws the random numbers: equal steps drop equal things, a block computed twice too. */
export interface DropoutSeed {
  seed: number;
  step: number;
}

/**
 * Adds dropout to a model, as hooks at the points where BART drops (after the embeddings, in attention patterns, after
 * GELU, and at the end of each sublayer), at the rates of config.json; and DaViT's drop path, which leaves whole
 * sublayers out for some images of a batch (Huang et al. 2016), at rates that rise with depth.
 *
 * @param at asked at each use: what step it is
 * @returns removes it
 */
export function addDropout(hooks: HookRegistry, config: Florence2Config, at: () => DropoutSeed): () => void {
  const removers = [languageDropout(hooks, config, at), dropPath(hooks, config, at)];
  return () => {
    for (const remove of removers.flat()) remove();
  };
}

function languageDropout(hooks: HookRegistry, { text }: Florence2Config, at: () => DropoutSeed): (() => void)[] {
  const stack = String.raw`^language_model\.(encoder|decoder)\.layers`;
  const rates: [RegExp, number][] = [
    [new RegExp(String.raw`${stack}\.0\.hook_resid_pre$`), text.dropout],
    [new RegExp(String.raw`${stack}\.\d+\.hook_(attn_out|cross_attn_out|mlp_out)$`), text.dropout],
    [new RegExp(String.raw`${stack}\.\d+\.(self|encoder)_attn\.hook_pattern$`), text.attentionDropout],
    [new RegExp(String.raw`${stack}\.\d+\.hook_post$`), text.activationDropout],
  ];
  return rates
    .filter(([, rate]) => rate > 0)
    .map(([points, rate]) => hooks.add(points, (activation, { name }) => dropout(activation, rate, at(), name)));
}

function dropPath(hooks: HookRegistry, { vision }: Florence2Config, at: () => DropoutSeed): (() => void)[] {
  if (vision.dropPathRate === 0) return [];
  const last = 2 * vision.depths.reduce((sum, depth) => sum + depth, 0) - 1;
  let index = 0;
  return vision.depths.flatMap((depth, stage) =>
    Array.from({ length: depth }, (_, i) =>
      ['spatial_block', 'channel_block'].map(block => {
        const rate = (vision.dropPathRate * index++) / Math.max(1, last);
        const path = `vision_tower.blocks.${stage}.${i}.${block}`;
        return hooks.add(
          name => name === `${path}.hook_attn_out` || name === `${path}.hook_mlp_out`,
          (activation, { name }) => {
            const [B, ...rest] = activation.shape;
            return scaled(activation, [B, ...rest.map(() => 1)], rate, at(), name);
          },
        );
      }),
    ).flat(),
  );
}

/** Sets each element to 0 with probability `rate`, and scales the others so that the mean stays. Srivastava et al. 2014. */
export function dropout<T extends tf.Tensor>(x: T, rate: number, seed: DropoutSeed, name: string): T {
  return scaled(x, x.shape, rate, seed, name);
}

function scaled<T extends tf.Tensor>(
  x: T,
  shape: number[],
  rate: number,
  { seed, step }: DropoutSeed,
  name: string,
): T {
  if (rate === 0) return x;
  const next = randomIntegers(seed, 'dropout', step, name);
  const threshold = rate * 2 ** 32;
  const kept = new Float32Array(shape.reduce((n, size) => n * size, 1));
  for (let i = 0; i < kept.length; i++) kept[i] = next() < threshold ? 0 : 1 / (1 - rate);
  return tf.tidy(() => tf.mul(x, tf.tensor(kept, shape))) as T;
}
