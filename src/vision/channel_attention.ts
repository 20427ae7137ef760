import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import { mergeHeads, splitQkv } from '../nn/attention.ts';
import { Linear } from '../nn/layers.ts';
import { matMulTransposed } from '../nn/ops.ts';
import type { Params } from '../nn/params.ts';

/**
 * Attention between the channels of a group: the global half of a DaViT block. Ding et al. 2022, sec. 3.3. Each channel
 * is a token whose features are the N positions of the map. As in Florence-2, scores are scaled by N^-½, not by the
 * width of the group.
 */
export class ChannelAttention {
  readonly qkv: Linear;
  readonly proj: Linear;

  constructor(
    p: Params,
    dim: number,
    readonly groups: number,
  ) {
    this.qkv = new Linear(p.at('qkv'), dim, 3 * dim);
    this.proj = new Linear(p.at('proj'), dim, dim);
  }

  /** x [B, H, W, C] -> same shape */
  forward(x: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    const [B, H, W, C] = x.shape;
    const N = H * W;
    return tf.tidy(() => {
      const qkv = this.qkv.forward(tf.reshape(x, [B, N, C]) as tf.Tensor3D); // [B, N, 3C]
      const [q, k, v] = splitQkv(qkv, this.groups); // [B, groups, N, d]
      const query = h.at('hook_q', q);
      const key = h.at('hook_k', k);
      const value = h.at('hook_v', v);

      const scaled = tf.mul(query, N ** -0.5) as tf.Tensor4D;
      const scores = h.at('hook_attn_scores', tf.matMul(scaled, key, true, false) as tf.Tensor4D); // [B, groups, d, d]
      const pattern = h.at('hook_channel_pattern', tf.softmax(scores)); // query channel × key channel
      const z = h.at('hook_z', matMulTransposed(value, pattern)); // [B, groups, N, d]

      return tf.reshape(this.proj.forward(mergeHeads(z)), [B, H, W, C]) as tf.Tensor4D;
    });
  }
}
