import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import { attend, mergeHeads, splitHeads } from '../nn/attention.ts';
import { Linear } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import type { KeyValue } from './cache.ts';

/** BART's multi-head attention, both for self-attention and for cross-attention over the encoder's output. */
export class Attention {
  readonly qProj: Linear;
  readonly kProj: Linear;
  readonly vProj: Linear;
  readonly outProj: Linear;

  constructor(
    p: Params,
    dim: number,
    readonly heads: number,
  ) {
    this.qProj = new Linear(p.at('q_proj'), dim, dim);
    this.kProj = new Linear(p.at('k_proj'), dim, dim);
    this.vProj = new Linear(p.at('v_proj'), dim, dim);
    this.outProj = new Linear(p.at('out_proj'), dim, dim);
  }

  /** x [B, S, D] -> keys and values, each [B, heads, S, d] */
  keyValue(x: tf.Tensor3D, h: Hooks): KeyValue {
    return tf.tidy(() => ({
      key: h.at('hook_k', splitHeads(this.kProj.forward(x), this.heads)),
      value: h.at('hook_v', splitHeads(this.vProj.forward(x), this.heads)),
    }));
  }

  /**
   * Queries come from x [B, T, D]; keys and values [B, heads, S, d] are given -> [B, T, D]
   *
   * @param mask see `attend`
   */
  forward(x: tf.Tensor3D, keys: KeyValue, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    return tf.tidy(() => {
      const q = h.at('hook_q', splitHeads(this.qProj.forward(x), this.heads)); // [B, heads, T, d]
      const z = attend(q, keys.key, keys.value, mask, h); // [B, heads, T, d]
      return h.sees('hook_result') ? this.sumHeads(z, h) : this.outProj.forward(mergeHeads(z));
    });
  }

  /** Computes the output as the sum of those of the heads, `hook_result` [B, heads, T, D], and the bias. */
  private sumHeads(z: tf.Tensor4D, h: Hooks): tf.Tensor3D {
    const [B, heads, T, d] = z.shape;
    const own = tf.reshape(tf.eye(heads), [1, heads, 1, heads, 1]);
    const apart = tf.reshape(tf.mul(tf.expandDims(z, 3), own), [B, heads, T, heads * d]); // zeros in place of other heads
    const bias = this.outProj.bias!.value;
    const results = h.at('hook_result', tf.sub(this.outProj.forward(apart), bias));
    return tf.add(tf.sum(results, 1), bias);
  }
}

/** Added to the scores of hidden keys. Their weight after the softmax is then exactly 0 in float32. */
const HIDDEN = -1e9;

/** Hides padding: mask [B, S], 1 = token, 0 = padding -> values to add to the scores, [B, 1, 1, S] */
export function paddingMask(mask: tf.Tensor2D): tf.Tensor4D {
  return tf.tidy(() => {
    const hidden = tf.mul(tf.sub(1, tf.cast(mask, 'float32')), HIDDEN);
    return tf.expandDims(tf.expandDims(hidden, 1), 1) as tf.Tensor4D;
  });
}

/** Hides later tokens from T tokens that follow `past` others -> values to add to the scores, [1, 1, T, past + T] */
export function causalMask(T: number, past: number): tf.Tensor4D {
  const S = past + T;
  const scores = new Float32Array(T * S);
  for (let t = 0; t < T; t++) scores.fill(HIDDEN, t * S + past + t + 1, (t + 1) * S);
  return tf.tensor4d(scores, [1, 1, T, S]);
}
