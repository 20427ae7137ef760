import * as tf from '@tensorflow/tfjs';
import type { VisionConfig } from '../config/model.ts';
import type { Hooks } from '../hooks/hooks.ts';
import { Conv2d, DepthwiseConv2d, LayerNorm, Linear } from '../nn/layers.ts';
import { gelu } from '../nn/ops.ts';
import type { Params } from '../nn/params.ts';
import { ChannelAttention } from './channel_attention.ts';
import { WindowAttention } from './window_attention.ts';

/**
 * DaViT, Florence-2's image encoder: four stages, each a strided convolution followed by pairs of a spatial block
 * (attention within windows) and a channel block (attention between channels). Ding et al. 2022,
 * https://arxiv.org/abs/2204.03645. Parameters are named as in transformers' `Florence2VisionBackbone`.
 */
export class DaViT {
  readonly convs: ConvEmbed[];
  readonly blocks: DaViTBlock[][];

  constructor(p: Params, config: VisionConfig) {
    this.convs = config.dimEmbed.map((_, stage) => new ConvEmbed(p.at('convs').at(stage), config, stage));
    this.blocks = config.depths.map((depth, stage) =>
      Array.from({ length: depth }, (_, i) => new DaViTBlock(p.at('blocks').at(stage).at(i), config, stage)),
    );
  }

  /** Normalised pixels [B, H, W, 3] -> the last map [B, H/32, W/32, C] (the strides of Florence-2 are 4, 2, 2, 2) */
  forward(pixels: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    return tf.tidy(() => {
      let x = h.at('hook_pixels', pixels);
      this.convs.forEach((conv, stage) => {
        x = h.block(`convs.${stage}`, (h, x) => conv.forward(x, h), x);
        this.blocks[stage].forEach((block, i) => {
          x = block.forward(x, h.in(`blocks.${stage}.${i}`));
        });
      });
      return x;
    });
  }
}

/** Returns the number of tokens of an image of this size: one for each position of the last map, and their mean. */
export function imageTokenCount(config: VisionConfig, { height, width }: { height: number; width: number }): number {
  const [rows, columns] = mapSize(config, height, width);
  return rows * columns + 1;
}

/**
 * Returns the rows and columns of DaViT's last map for an input of this size.
 *
 * @param first the stage that receives the input; default 0, whose input is the image
 */
export function mapSize(
  config: VisionConfig,
  height: number,
  width: number,
  first = 0,
): [rows: number, columns: number] {
  const afterConvs = (side: number): number =>
    config.patchSize.reduce((size, kernel, stage) => {
      if (stage < first) return size;
      return Math.floor((size + 2 * config.patchPadding[stage] - kernel) / config.patchStride[stage]) + 1;
    }, side);
  return [afterConvs(height), afterConvs(width)];
}

/** The strided convolution at the start of a stage, followed (first stage) or preceded (the others) by a layer norm. */
class ConvEmbed {
  readonly conv: Conv2d;
  readonly norm: LayerNorm;
  readonly prenorm: boolean;

  constructor(p: Params, config: VisionConfig, stage: number) {
    const inChannels = stage === 0 ? 3 : config.dimEmbed[stage - 1];
    const outChannels = config.dimEmbed[stage];
    const { patchSize, patchStride, patchPadding } = config;
    this.conv = new Conv2d(
      p.at('conv'),
      inChannels,
      outChannels,
      patchSize[stage],
      patchStride[stage],
      patchPadding[stage],
    );
    this.prenorm = config.patchPrenorm[stage];
    this.norm = new LayerNorm(p.at('norm'), this.prenorm ? inChannels : outChannels);
  }

  /** x [B, H, W, in] -> [B, H/stride, W/stride, out] */
  forward(x: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    return tf.tidy(() => {
      const norm = (x: tf.Tensor4D) => this.norm.forward(x, h.in('norm'));
      const y = this.prenorm ? this.conv.forward(norm(x)) : norm(this.conv.forward(x));
      return h.at('hook_embed', y);
    });
  }
}

/** A spatial block followed by a channel block. */
class DaViTBlock {
  readonly spatialBlock: AttentionBlock;
  readonly channelBlock: AttentionBlock;

  constructor(p: Params, config: VisionConfig, stage: number) {
    const dim = config.dimEmbed[stage];
    const { numHeads, numGroups, windowSize, mlpRatio } = config;
    this.spatialBlock = new AttentionBlock(p.at('spatial_block'), dim, mlpRatio, 'window_attn', path => {
      return new WindowAttention(path, dim, numHeads[stage], windowSize);
    });
    this.channelBlock = new AttentionBlock(p.at('channel_block'), dim, mlpRatio, 'channel_attn', path => {
      return new ChannelAttention(path, dim, numGroups[stage]);
    });
  }

  /** x [B, H, W, C] -> same shape */
  forward(x: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    return tf.tidy(() => {
      const spatial = h.block('spatial_block', (h, x) => this.spatialBlock.forward(x, h), x);
      return h.block('channel_block', (h, x) => this.channelBlock.forward(x, h), spatial);
    });
  }
}

/**
 * One half of a DaViT block, pre-norm. The depthwise convolution before each sublayer encodes positions:
 * x += conv1(x); x += attention(norm1(x)); x += conv2(x); x += ffn(norm2(x)).
 */
class AttentionBlock {
  readonly conv1: DepthwiseConv2d;
  readonly norm1: LayerNorm;
  readonly attention: WindowAttention | ChannelAttention;
  readonly conv2: DepthwiseConv2d;
  readonly norm2: LayerNorm;
  readonly ffn: Mlp;

  constructor(
    p: Params,
    dim: number,
    mlpRatio: number,
    readonly attentionName: 'window_attn' | 'channel_attn',
    attention: (p: Params) => WindowAttention | ChannelAttention,
  ) {
    this.conv1 = new DepthwiseConv2d(p.at('conv1'), dim);
    this.norm1 = new LayerNorm(p.at('norm1'), dim);
    this.attention = attention(p.at(attentionName));
    this.conv2 = new DepthwiseConv2d(p.at('conv2'), dim);
    this.norm2 = new LayerNorm(p.at('norm2'), dim);
    this.ffn = new Mlp(p.at('ffn'), dim, Math.round(mlpRatio * dim));
  }

  /** input [B, H, W, C] -> same shape */
  forward(input: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    return tf.tidy(() => {
      let x = h.at('hook_resid_pre', input);
      x = tf.add(x, h.at('hook_conv1', this.conv1.forward(x)));
      const attended = this.attention.forward(this.norm1.forward(x, h.in('norm1')), h.in(this.attentionName));
      x = h.at('hook_resid_mid', tf.add(x, h.at('hook_attn_out', attended)));
      x = tf.add(x, h.at('hook_conv2', this.conv2.forward(x)));
      x = tf.add(x, h.at('hook_mlp_out', this.ffn.forward(this.norm2.forward(x, h.in('norm2')), h)));
      return h.at('hook_resid_post', x);
    });
  }
}

/** fc2(gelu(fc1(x))) */
class Mlp {
  readonly fc1: Linear;
  readonly fc2: Linear;

  constructor(p: Params, dim: number, hidden: number) {
    this.fc1 = new Linear(p.at('fc1'), dim, hidden);
    this.fc2 = new Linear(p.at('fc2'), hidden, dim);
  }

  /** x [..., C] -> same shape */
  forward<T extends tf.Tensor>(x: T, h: Hooks): T {
    return tf.tidy(() => this.fc2.forward(h.at('hook_post', gelu(this.fc1.forward(x)))));
  }
}
