import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import { attend, mergeHeads, splitHeads } from '../nn/attention.ts';
import { Linear } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import type { KeyValue } from './cache.ts';

/** BART's multi-head attention; of the same form whether it looks at its own sequence or at the encoder's output. */
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

  /** x [B, S, D] -> keys and values [B, heads, S, d] */
  keyValue(x: tf.Tensor3D, h: Hooks): KeyValue {
    return tf.tidy(() => ({
      key: h.at('hook_k', splitHeads(this.kProj.forward(x), this.heads)),
      value: h.at('hook_v', splitHeads(this.vProj.forward(x), this.heads)),
    }));
  }

  /** x [B, T, D] asks, `keys` [B, heads, S, d] answer -> [B, T, D]. `mask` as in `attend`. */
  forward(x: tf.Tensor3D, keys: KeyValue, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    return tf.tidy(() => {
      const q = h.at('hook_q', splitHeads(this.qProj.forward(x), this.heads)); // [B, heads, T, d]
      return this.outProj.forward(mergeHeads(attend(q, keys.key, keys.value, mask, h)));
    });
  }
}
