import * as tf from '@tensorflow/tfjs';
import { noHooks } from '../hooks/hooks.ts';
import { addLowRank, addLowRankChannels, addLowRankMaps } from './low_rank.ts';
import { asRows, layerNorm, linear, lookUp } from './ops.ts';
import type { Adaptable, LowRank, Parameter, Params } from './params.ts';

/** y = x W + b over the last axis, plus the output of adapters. */
export class Linear implements Adaptable {
  readonly weight: Parameter; // [in, out] in memory
  readonly bias: Parameter | null;
  adapters: readonly LowRank[] | null = null;

  constructor(
    p: Params,
    readonly inFeatures: number,
    readonly outFeatures: number,
    { bias = true } = {},
  ) {
    this.weight = p.parameter('weight', [outFeatures, inFeatures], 'linear');
    this.bias = bias ? p.parameter('bias', [outFeatures]) : null;
    p.adaptable(this);
  }

  /** x [..., in] -> [..., out] */
  forward<T extends tf.Tensor>(x: T): T {
    return tf.tidy(() => {
      const rows = asRows(x); // [N, in]
      const bias = this.bias ? (this.bias.value as tf.Tensor1D) : null;
      const plain = linear(rows, this.weight.value as tf.Tensor2D, bias); // [N, out]
      const y = this.adapters ? addLowRank(plain, rows, this.adapters) : plain;
      return tf.reshape(y, [...x.shape.slice(0, -1), this.outFeatures]) as T;
    });
  }
}

/**
 * Layer norm over the last axis. On request, hooks receive its parts: `hook_scale` [..., 1], the standard deviation, and
 * `hook_normalized` [..., C], (x − mean) / scale.
 */
export class LayerNorm {
  static readonly EPS = 1e-5;
  readonly weight: Parameter; // [C]
  readonly bias: Parameter; // [C]

  constructor(p: Params, size: number) {
    this.weight = p.parameter('weight', [size]);
    this.bias = p.parameter('bias', [size]);
  }

  /** x [..., C] -> same shape */
  forward<T extends tf.Tensor>(x: T, h = noHooks): T {
    const [weight, bias] = [this.weight.value as tf.Tensor1D, this.bias.value as tf.Tensor1D];
    if (!h.sees('hook_scale') && !h.sees('hook_normalized')) return layerNorm(x, weight, bias, LayerNorm.EPS);
    return tf.tidy(() => {
      const centred = tf.sub(x, tf.mean(x, -1, true));
      const variance = tf.mean(tf.square(centred), -1, true);
      const scale = h.at('hook_scale', tf.sqrt(tf.add(variance, LayerNorm.EPS)));
      const normalized = h.at('hook_normalized', tf.div(centred, scale));
      return tf.add(tf.mul(normalized, weight), bias);
    });
  }
}

/** 2-D convolution of maps [B, H, W, C] with symmetric zero padding, plus the output of adapters. */
export class Conv2d implements Adaptable {
  readonly weight: Parameter; // [kh, kw, in, out] in memory
  readonly bias: Parameter; // [out]
  adapters: readonly LowRank[] | null = null;

  constructor(
    p: Params,
    inChannels: number,
    outChannels: number,
    kernel: number,
    readonly stride: number,
    readonly padding: number,
  ) {
    this.weight = p.parameter('weight', [outChannels, inChannels, kernel, kernel], 'conv');
    this.bias = p.parameter('bias', [outChannels]);
    p.adaptable(this);
  }

  /** x [B, H, W, in] -> [B, H', W', out] */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const y = tf.add(this.convolve(x, this.weight.value as tf.Tensor4D), this.bias.value) as tf.Tensor4D;
      return this.adapters ? addLowRankMaps(y, x, this.adapters, (x, a) => this.convolve(x, a)) : y;
    });
  }

  private convolve(x: tf.Tensor4D, filter: tf.Tensor4D): tf.Tensor4D {
    const pad: [number, number] = [this.padding, this.padding];
    // tfjs-node has no gradient of conv2d with explicit padding.
    const padded = tf.pad(x, [[0, 0], pad, pad, [0, 0]]);
    return tf.conv2d(padded, filter, this.stride, 'valid');
  }
}

/** Depthwise convolution: one 3×3 filter per channel, plus the output of adapters. */
export class DepthwiseConv2d implements Adaptable {
  readonly weight: Parameter; // [3, 3, C, 1] in memory
  readonly bias: Parameter; // [C]
  adapters: readonly LowRank[] | null = null;

  constructor(p: Params, channels: number) {
    this.weight = p.parameter('weight', [channels, 1, 3, 3], 'depthwise');
    this.bias = p.parameter('bias', [channels]);
    p.adaptable(this);
  }

  /** x [B, H, W, C] -> same shape */
  forward(x: tf.Tensor4D): tf.Tensor4D {
    return tf.tidy(() => {
      const plain = tf.depthwiseConv2d(x, this.weight.value as tf.Tensor4D, 1, 'same');
      const y: tf.Tensor4D = tf.add(plain, this.bias.value);
      return this.adapters ? addLowRankChannels(y, x, this.adapters) : y;
    });
  }
}

/** A table of vectors, looked up by index. */
export class Embedding {
  readonly weight: Parameter; // [V, D]

  /**
   * @param paddingId id whose row gets no gradient from look-ups, as in `torch.nn.Embedding`
   * @param tiedTo table that this one is, unless the checkpoint or an adapter has a separate one
   */
  constructor(
    p: Params,
    rows: number,
    size: number,
    private readonly paddingId: number | null = null,
    tiedTo: Parameter | null = null,
  ) {
    this.weight = tiedTo ? p.optional('weight', [rows, size], tiedTo) : p.parameter('weight', [rows, size]);
  }

  /** ids [B, T] int32 -> [B, T, D] */
  forward(ids: tf.Tensor2D): tf.Tensor3D {
    return lookUp(this.weight.value as tf.Tensor2D, ids, this.paddingId);
  }

  /** Returns rows `from` to `from + count - 1`, [count, D]. */
  rows(from: number, count: number): tf.Tensor2D {
    return tf.slice(this.weight.value as tf.Tensor2D, [from, 0], [count, -1]);
  }
}
