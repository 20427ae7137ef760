import * as tf from '@tensorflow/tfjs';
import { UsageError } from '../errors.ts';
import type { Florence2 } from '../florence2.ts';
import type { Linear } from '../nn/layers.ts';
import type { Parameter } from '../nn/params.ts';
import { checkKind } from '../options.ts';
import { type AttentionKind, KIND } from './attention_maps.ts';
import type { AttentionLayer } from './attention_parts.ts';

/**
 * The weights of one attention by head, in the checkpoint's order (as in PyTorch): y = x Wᵀ + b. D is the width of the
 * model, d that of a head.
 */
export interface HeadWeights {
  /** [heads, d, D] */
  W_Q: tf.Tensor3D;
  /** [heads, d, D] */
  W_K: tf.Tensor3D;
  /** [heads, d, D] */
  W_V: tf.Tensor3D;
  /** [heads, D, d] */
  W_O: tf.Tensor3D;
  /** [heads, d] */
  b_Q: tf.Tensor2D;
  /** [heads, d] */
  b_K: tf.Tensor2D;
  /** [heads, d] */
  b_V: tf.Tensor2D;
  /** [D] */
  b_O: tf.Tensor1D;
}

/**
 * Returns copies of the weights of one attention by head (of channel attention: by group). Adapters count only if they
 * are merged. The caller disposes the tensors: `tf.dispose(weights)`.
 *
 * With the activations of the layer's hooks: hook_q = x W_Qᵀ + b_Q, and the attention's output is Σ hook_z W_Oᵀ over the
 * heads, plus b_O. The product W_Oᵀ W_V, for example, is what a head writes for what it reads.
 *
 * @param layer number of the layer, or `'stage.block'` for `window` and `channel`
 * @throws UsageError if the layer does not exist
 */
export function headWeights(model: Florence2, kind: AttentionKind, layer: AttentionLayer): HeadWeights {
  checkKind('The kind of attention', kind, KIND);
  return model.tidy(() => {
    const { heads, q, k, v, out } = attentionOf(model, kind, layer);
    const [W_Q, W_K, W_V] = [q, k, v].map(({ weight }) => {
      const [rows, D] = weight.shape;
      return tf.reshape(weight, [heads, rows / heads, D]);
    });
    const [b_Q, b_K, b_V] = [q, k, v].map(({ bias }) => tf.reshape(bias, [heads, -1]) as tf.Tensor2D);
    const [D, columns] = out.weight.shape;
    const W_O = tf.transpose(tf.reshape(out.weight, [D, heads, columns / heads]), [1, 0, 2]);
    return { W_Q, W_K, W_V, W_O, b_Q, b_K, b_V, b_O: out.bias } as HeadWeights;
  });
}

/** The projections of one attention, weights [out, in]. */
interface Projections {
  readonly heads: number;
  readonly q: Projection;
  readonly k: Projection;
  readonly v: Projection;
  readonly out: Projection;
}

interface Projection {
  readonly weight: tf.Tensor2D;
  readonly bias: tf.Tensor1D;
}

function attentionOf({ model }: Florence2, kind: AttentionKind, layer: AttentionLayer): Projections {
  const { encoder, decoder } = model.languageModel;
  if (kind === 'window' || kind === 'channel') {
    const [stage, index] = String(layer).split('.').map(Number);
    const block = model.visionTower.blocks[stage]?.[index] ?? noLayer(kind, layer);
    const { attention } = kind === 'window' ? block.spatialBlock : block.channelBlock;
    const heads = 'heads' in attention ? attention.heads : attention.groups;
    const { weight, bias } = projection(attention.qkv);
    const [q, k, v] = [0, 1, 2].map(part => {
      const size = weight.shape[0] / 3;
      return { weight: tf.slice(weight, [part * size, 0], [size, -1]), bias: tf.slice(bias, part * size, size) };
    });
    return { heads, q, k, v, out: projection(attention.proj) };
  }
  const found = (kind === 'encoder' ? encoder : decoder).layers[Number(layer)] ?? noLayer(kind, layer);
  const attention = kind === 'cross' ? (found as (typeof decoder.layers)[number]).encoderAttn : found.selfAttn;
  const [q, k, v, out] = [attention.qProj, attention.kProj, attention.vProj, attention.outProj].map(projection);
  return { heads: attention.heads, q, k, v, out };
}

function projection({ weight, bias }: Linear): Projection {
  const stored = (parameter: Parameter) => parameter.inCheckpointOrder(parameter.value);
  return { weight: stored(weight) as tf.Tensor2D, bias: stored(bias!) as tf.Tensor1D };
}

function noLayer(kind: AttentionKind, layer: AttentionLayer): never {
  throw new UsageError(`The model has no layer ${layer} with ${kind} attention.`);
}
