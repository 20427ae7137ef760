import * as tf from '@tensorflow/tfjs';
import type { VisionConfig } from '../../src/config/model.ts';

/**
 * Returns a parameter of the vision tower by name, in the checkpoint's layout: the weight of a linear layer is [out,
 * in].
 */
export type Weights = (name: string) => tf.Tensor;

/**
 * Computes DaViT as a line-by-line port of the PyTorch reference, for comparison: matrix products with transposed
 * weights, layer norms and GELU by their formulas, channel attention over [d, N].
 *
 * @param pixels [B, H, W, 3]
 * @returns [B, H/32, W/32, C]
 */
export function naiveDavit(pixels: tf.Tensor4D, weights: Weights, config: VisionConfig): tf.Tensor4D {
  return tf.tidy(() => {
    let x = pixels;
    config.dimEmbed.forEach((_, stage) => {
      x = convEmbed(x, at(weights, `convs.${stage}`), config, stage);
      for (let i = 0; i < config.depths[stage]; i++) {
        const block = at(weights, `blocks.${stage}.${i}`);
        const { numHeads, numGroups, windowSize } = config;
        x = attentionBlock(x, at(block, 'spatial_block'), 'window_attn', (x, w) => {
          return windowAttention(x, w, numHeads[stage], windowSize);
        });
        x = attentionBlock(x, at(block, 'channel_block'), 'channel_attn', (x, w) => {
          return channelAttention(x, w, numGroups[stage]);
        });
      }
    });
    return x;
  });
}

const at =
  (weights: Weights, path: string): Weights =>
  name =>
    weights(`${path}.${name}`);

function convEmbed(x: tf.Tensor4D, w: Weights, config: VisionConfig, stage: number): tf.Tensor4D {
  const pad = config.patchPadding[stage];
  const norm = (x: tf.Tensor4D) => layerNorm(x, at(w, 'norm'));
  const conv = (x: tf.Tensor4D) => {
    const filter = tf.transpose(w('conv.weight'), [2, 3, 1, 0]) as tf.Tensor4D;
    const y = tf.conv2d(x, filter, config.patchStride[stage], pad);
    return tf.add(y, w('conv.bias')) as tf.Tensor4D;
  };
  return config.patchPrenorm[stage] ? conv(norm(x)) : norm(conv(x));
}

function attentionBlock(
  x: tf.Tensor4D,
  w: Weights,
  name: string,
  attention: (x: tf.Tensor4D, w: Weights) => tf.Tensor4D,
): tf.Tensor4D {
  x = tf.add(x, depthwise(x, at(w, 'conv1')));
  x = tf.add(x, attention(layerNorm(x, at(w, 'norm1')), at(w, name)));
  x = tf.add(x, depthwise(x, at(w, 'conv2')));
  const hidden = linear(layerNorm(x, at(w, 'norm2')), at(w, 'ffn.fc1'));
  const activated = tf.mul(tf.mul(0.5, hidden), tf.add(1, tf.erf(tf.div(hidden, Math.SQRT2)))) as tf.Tensor4D;
  return tf.add(x, linear(activated, at(w, 'ffn.fc2')));
}

function windowAttention(x: tf.Tensor4D, w: Weights, heads: number, size: number): tf.Tensor4D {
  const [B, H, W, C] = x.shape;
  const [rows, columns] = [Math.ceil(H / size), Math.ceil(W / size)];
  const padded = tf.pad(x, [[0, 0], [0, rows * size - H], [0, columns * size - W], [0, 0]]); // biome-ignore format: one line
  const tiles = tf.reshape(padded, [B, rows, size, columns, size, C]);
  const windows = tf.reshape(tf.transpose(tiles, [0, 1, 3, 2, 4, 5]), [-1, size * size, C]) as tf.Tensor3D;
  const [q, k, v] = split(linear(windows, at(w, 'qkv')), heads); // [windows, heads, N, d]
  const scores = tf.matMul(tf.mul(q, (C / heads) ** -0.5), k, false, true);
  const z = tf.transpose(tf.matMul(tf.softmax(scores), v), [0, 2, 1, 3]);
  const out = linear(tf.reshape(z, windows.shape), at(w, 'proj'));
  const untiled = tf.transpose(tf.reshape(out, [B, rows, columns, size, size, C]), [0, 1, 3, 2, 4, 5]);
  return tf.slice(tf.reshape(untiled, [B, rows * size, columns * size, C]), [0, 0, 0, 0], [B, H, W, C]) as tf.Tensor4D;
}

function channelAttention(x: tf.Tensor4D, w: Weights, groups: number): tf.Tensor4D {
  const [B, H, W, C] = x.shape;
  const N = H * W;
  const [q, k, v] = split(linear(tf.reshape(x, [B, N, C]) as tf.Tensor3D, at(w, 'qkv')), groups); // [B, groups, N, d]
  const turned = (t: tf.Tensor) => tf.transpose(t, [0, 1, 3, 2]); // [B, groups, d, N]
  const scores = tf.matMul(turned(tf.mul(q, N ** -0.5)), k); // [B, groups, d, d]
  const z = turned(tf.matMul(tf.softmax(scores), turned(v))); // [B, groups, N, d]
  const merged = tf.reshape(tf.transpose(z, [0, 2, 1, 3]), [B, N, C]) as tf.Tensor3D;
  return tf.reshape(linear(merged, at(w, 'proj')), x.shape);
}

function split(qkv: tf.Tensor3D, heads: number): tf.Tensor4D[] {
  const [B, N, C3] = qkv.shape;
  const parts = tf.transpose(tf.reshape(qkv, [B, N, 3, heads, C3 / 3 / heads]), [2, 0, 3, 1, 4]);
  return tf.unstack(parts) as tf.Tensor4D[];
}

function linear<T extends tf.Tensor>(x: T, w: Weights): T {
  const rows = tf.reshape(x, [-1, x.shape.at(-1)!]) as tf.Tensor2D;
  const y = tf.add(tf.matMul(rows, w('weight') as tf.Tensor2D, false, true), w('bias'));
  return tf.reshape(y, [...x.shape.slice(0, -1), -1]) as T;
}

function layerNorm<T extends tf.Tensor>(x: T, w: Weights): T {
  const { mean, variance } = tf.moments(x, -1, true);
  const normal = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-5)));
  return tf.add(tf.mul(normal, w('weight')), w('bias')) as T;
}

function depthwise(x: tf.Tensor4D, w: Weights): tf.Tensor4D {
  const filter = tf.transpose(w('weight'), [2, 3, 0, 1]) as tf.Tensor4D;
  return tf.add(tf.depthwiseConv2d(x, filter, 1, 'same'), w('bias')) as tf.Tensor4D;
}
