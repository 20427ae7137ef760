import * as tf from '@tensorflow/tfjs';
import type { TextConfig } from '../config/model.ts';
import type { Hooks } from '../hooks/hooks.ts';
import { Embedding, LayerNorm, Linear } from '../nn/layers.ts';
import { gelu } from '../nn/ops.ts';
import type { Params } from '../nn/params.ts';
import { Attention } from './attention.ts';

/** BART's positions start at 2 because of its padding index. The first two rows of its tables are unused. */
export const POSITION_OFFSET = 2;

/**
 * BART's encoder over image features and prompt, post-norm: each sublayer's output is added to its input, and the sum
 * is normalised. No norm follows the last layer. Lewis et al. 2019, https://arxiv.org/abs/1910.13461. Parameters are
 * named as in transformers' `BartEncoder`.
 */
export class Encoder {
  readonly embedPositions: Embedding;
  readonly layernormEmbedding: LayerNorm;
  readonly layers: EncoderLayer[];

  constructor(p: Params, config: TextConfig) {
    const rows = config.maxPositionEmbeddings + POSITION_OFFSET;
    this.embedPositions = new Embedding(p.at('embed_positions'), rows, config.dModel);
    this.layernormEmbedding = new LayerNorm(p.at('layernorm_embedding'), config.dModel);
    this.layers = Array.from({ length: config.encoderLayers }, (_, i) => {
      return new EncoderLayer(p.at('layers').at(i), config);
    });
  }

  /** inputsEmbeds [B, S, D], mask [B, 1, 1, S] (see `paddingMask`) -> [B, S, D] */
  forward(inputsEmbeds: tf.Tensor3D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    const S = inputsEmbeds.shape[1];
    return this.encode(inputsEmbeds, () => this.positions(S), mask, h);
  }

  /** Returns the embeddings of the first S positions, [S, D]. */
  positions(S: number): tf.Tensor2D {
    return this.embedPositions.rows(POSITION_OFFSET, S);
  }

  /** Like `forward`, with the position embeddings [S, D] given: nothing else depends on the length. */
  encode(inputsEmbeds: tf.Tensor3D, positions: () => tf.Tensor2D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    return tf.tidy(() => {
      let x = h.block('', (h, embeds) => this.addPositions(embeds, positions(), h), inputsEmbeds);
      this.layers.forEach((layer, i) => {
        x = h.block(`layers.${i}`, (h, x, mask) => layer.forward(x, mask, h), x, mask);
      });
      return x;
    });
  }

  private addPositions(inputsEmbeds: tf.Tensor3D, positions: tf.Tensor2D, h: Hooks): tf.Tensor3D {
    const embeds = h.at('hook_embed', inputsEmbeds);
    const sum = tf.add(embeds, h.at('hook_pos_embed', positions)) as tf.Tensor3D;
    return this.layernormEmbedding.forward(sum, h.in('layernorm_embedding'));
  }
}

/** x = norm(x + self_attn(x)); x = norm(x + fc2(gelu(fc1(x)))) */
class EncoderLayer {
  readonly selfAttn: Attention;
  readonly selfAttnLayerNorm: LayerNorm;
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly finalLayerNorm: LayerNorm;

  constructor(p: Params, { dModel, encoderAttentionHeads, encoderFfnDim }: TextConfig) {
    this.selfAttn = new Attention(p.at('self_attn'), dModel, encoderAttentionHeads);
    this.selfAttnLayerNorm = new LayerNorm(p.at('self_attn_layer_norm'), dModel);
    this.fc1 = new Linear(p.at('fc1'), dModel, encoderFfnDim);
    this.fc2 = new Linear(p.at('fc2'), encoderFfnDim, dModel);
    this.finalLayerNorm = new LayerNorm(p.at('final_layer_norm'), dModel);
  }

  /** input [B, S, D] -> [B, S, D] */
  forward(input: tf.Tensor3D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    return tf.tidy(() => {
      let x = h.at('hook_resid_pre', input);
      const keys = this.selfAttn.keyValue(x, h.in('self_attn'));
      const attended = h.at('hook_attn_out', this.selfAttn.forward(x, keys, mask, h.in('self_attn')));
      x = h.at('hook_resid_mid', this.selfAttnLayerNorm.forward(tf.add(x, attended), h.in('self_attn_layer_norm')));
      const mlp = h.at('hook_mlp_out', this.fc2.forward(h.at('hook_post', gelu(this.fc1.forward(x)))));
      return h.at('hook_resid_post', this.finalLayerNorm.forward(tf.add(x, mlp), h.in('final_layer_norm')));
    });
  }
}
