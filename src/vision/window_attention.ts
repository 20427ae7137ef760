import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import { attend, mergeHeads, splitQkv } from '../nn/attention.ts';
import { Linear } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';

/** Self-attention within square windows: the spatial half of a DaViT block. Ding et al. 2022, sec. 3.2. */
export class WindowAttention {
  readonly qkv: Linear;
  readonly proj: Linear;

  constructor(
    p: Params,
    dim: number,
    readonly heads: number,
    readonly window: number,
  ) {
    this.qkv = new Linear(p.at('qkv'), dim, 3 * dim);
    this.proj = new Linear(p.at('proj'), dim, dim);
  }

  /**
   * x [B, H, W, C] -> same shape. Maps are padded with zeros at the right and bottom to whole windows. As in the
   * reference, the padding is not masked: its keys and values are the bias of qkv.
   */
  forward(x: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    const [B, H, W, C] = x.shape;
    const w = this.window;
    const [rows, columns] = [Math.ceil(H / w), Math.ceil(W / w)];
    return tf.tidy(() => {
      const padded = pad(x, rows * w - H, columns * w - W);
      const tiles = tf.reshape(padded, [B, rows, w, columns, w, C]);
      const windows = tf.reshape(tf.transpose(tiles, [0, 1, 3, 2, 4, 5]), [-1, w * w, C]) as tf.Tensor3D; // [B·rows·columns, w², C]

      const [q, k, v] = splitQkv(this.qkv.forward(windows), this.heads); // [B·rows·columns, heads, w², d]
      const z = attend(h.at('hook_q', q), h.at('hook_k', k), h.at('hook_v', v), null, h);
      const out = this.proj.forward(mergeHeads(z)); // [B·rows·columns, w², C]

      const untiled = tf.transpose(tf.reshape(out, [B, rows, columns, w, w, C]), [0, 1, 3, 2, 4, 5]);
      const map = tf.reshape(untiled, [B, rows * w, columns * w, C]) as tf.Tensor4D;
      return rows * w === H && columns * w === W ? map : tf.slice(map, [0, 0, 0, 0], [B, H, W, C]);
    });
  }
}

/** Adds rows of zeros below x [B, H, W, C] and columns of zeros to its right. */
function pad(x: tf.Tensor4D, below: number, right: number): tf.Tensor4D {
  if (below === 0 && right === 0) return x;
  return tf.pad(x, [
    [0, 0],
    [0, below],
    [0, right],
    [0, 0],
  ]);
}
