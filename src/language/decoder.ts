import * as tf from '@tensorflow/tfjs';
import type { TextConfig } from '../config/model.ts';
import { Florence2Error } from '../errors.ts';
import type { Hooks, View } from '../hooks/hooks.ts';
import { Embedding, LayerNorm, Linear } from '../nn/layers.ts';
import { gelu } from '../nn/ops.ts';
import type { Params } from '../nn/params.ts';
import { Attention, causalMask } from './attention.ts';
import { type KeyValue, LayerCache } from './cache.ts';
import { POSITION_OFFSET } from './encoder.ts';

/** The encoder's output and its padding mask: the input of cross-attention. */
export interface Memory {
  readonly states: tf.Tensor3D; // [B, S, D]
  readonly mask: tf.Tensor4D | null; // [B, 1, 1, S], see `paddingMask`; null without padding
}

/**
 * BART's decoder, post-norm: each layer has causal self-attention over the tokens, then cross-attention over the
 * encoder's output. Lewis et al. 2019, https://arxiv.org/abs/1910.13461. Parameters are named as in transformers'
 * `BartDecoder`.
 */
export class Decoder {
  readonly embedPositions: Embedding;
  readonly layernormEmbedding: LayerNorm;
  readonly layers: DecoderLayer[];

  constructor(p: Params, config: TextConfig) {
    const rows = config.maxPositionEmbeddings + POSITION_OFFSET;
    this.embedPositions = new Embedding(p.at('embed_positions'), rows, config.dModel);
    this.layernormEmbedding = new LayerNorm(p.at('layernorm_embedding'), config.dModel);
    this.layers = Array.from({ length: config.decoderLayers }, (_, i) => {
      return new DecoderLayer(p.at('layers').at(i), config);
    });
  }

  /**
   * Returns an empty cache for each layer, for a generation over the encoder's output [B, S, D]. The keys and values of
   * cross-attention are computed here, once for all steps. The caller disposes the caches.
   */
  newCaches(states: tf.Tensor3D, h: Hooks): LayerCache[] {
    const computed = tf.tidy(() => this.memoryKeys(states, h).map(({ key, value }) => [key, value]));
    return computed.map(([key, value]) => new LayerCache({ key: tf.keep(key), value: tf.keep(value) }));
  }

  /** The encoder's output [B, S, D] -> keys and values of cross-attention, [B, heads, S, d], for each layer */
  memoryKeys(states: tf.Tensor3D, h: Hooks): KeyValue[] {
    return this.layers.map(({ encoderAttn }, i) => encoderAttn.keyValue(states, h.in(`layers.${i}.encoder_attn`)));
  }

  /**
   * Embeddings of T new tokens -> their hidden states, both [rows, T, D]. rows = B · beams: all beams of a batch item
   * share its keys and values of cross-attention.
   *
   * @param caches from `newCaches`, with the earlier tokens; each grows by T. null: there are no earlier tokens, and
   *   nothing is cached
   * @throws Florence2Error if there are more tokens than positions
   */
  forward(inputsEmbeds: tf.Tensor3D, memory: Memory, caches: readonly LayerCache[] | null, h: Hooks): tf.Tensor3D {
    const T = inputsEmbeds.shape[1];
    const past = caches?.[0].length ?? 0;
    return this.decode(inputsEmbeds, () => this.positions(past, T), memory, caches, h);
  }

  /**
   * Returns the position embeddings of T tokens that follow `past` others, [T, D].
   *
   * @throws Florence2Error if there are more tokens than positions
   */
  positions(past: number, T: number): tf.Tensor2D {
    const longest = this.embedPositions.weight.shape[0] - POSITION_OFFSET;
    if (past + T > longest) {
      throw new Florence2Error(`An answer of ${past + T} tokens is longer than the model's ${longest} positions.`);
    }
    return this.embedPositions.rows(POSITION_OFFSET + past, T);
  }

  /** Like `forward`, with the position embeddings given: nothing else depends on the number of earlier tokens. */
  decode(
    inputsEmbeds: tf.Tensor3D,
    positions: () => tf.Tensor2D,
    memory: Memory,
    caches: readonly LayerCache[] | null,
    h: Hooks,
  ): tf.Tensor3D {
    return tf.tidy(() => {
      const T = inputsEmbeds.shape[1];
      const causal = T > 1 ? causalMask(T, caches?.[0].length ?? 0) : null;
      let x = h.block('', (h, embeds) => this.addPositions(embeds, positions(), h), inputsEmbeds);
      this.layers.forEach((layer, i) => {
        const run = (h: Hooks, x: tf.Tensor3D, causal: tf.Tensor4D | null, states: tf.Tensor3D, mask: Memory['mask']) =>
          layer.forward(x, causal, { states, mask }, caches?.[i] ?? null, h);
        x = h.block(`layers.${i}`, run, x, causal, memory.states, memory.mask);
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

/** x = norm(x + self_attn(x)); x = norm(x + encoder_attn(x, memory)); x = norm(x + fc2(gelu(fc1(x)))) */
class DecoderLayer {
  readonly selfAttn: Attention;
  readonly selfAttnLayerNorm: LayerNorm;
  readonly encoderAttn: Attention;
  readonly encoderAttnLayerNorm: LayerNorm;
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly finalLayerNorm: LayerNorm;

  constructor(p: Params, { dModel, decoderAttentionHeads, decoderFfnDim }: TextConfig) {
    this.selfAttn = new Attention(p.at('self_attn'), dModel, decoderAttentionHeads);
    this.selfAttnLayerNorm = new LayerNorm(p.at('self_attn_layer_norm'), dModel);
    this.encoderAttn = new Attention(p.at('encoder_attn'), dModel, decoderAttentionHeads);
    this.encoderAttnLayerNorm = new LayerNorm(p.at('encoder_attn_layer_norm'), dModel);
    this.fc1 = new Linear(p.at('fc1'), dModel, decoderFfnDim);
    this.fc2 = new Linear(p.at('fc2'), decoderFfnDim, dModel);
    this.finalLayerNorm = new LayerNorm(p.at('final_layer_norm'), dModel);
  }

  /** input [rows, T, D] -> [rows, T, D] */
  forward(
    input: tf.Tensor3D,
    causal: tf.Tensor4D | null,
    memory: Memory,
    cache: LayerCache | null,
    h: Hooks,
  ): tf.Tensor3D {
    return tf.tidy(() => {
      let x = h.at('hook_resid_pre', input);
      const own = this.selfAttn.keyValue(x, h.in('self_attn'));
      const keys = cache ? cache.append(own) : own; // [rows, heads, past + T, d]
      const attended = h.at('hook_attn_out', this.selfAttn.forward(x, keys, causal, h.in('self_attn')));
      x = h.at('hook_resid_mid', this.selfAttnLayerNorm.forward(tf.add(x, attended), h.in('self_attn_layer_norm')));
      const crossAttended = h.at('hook_cross_attn_out', this.crossAttend(x, memory, cache, h.in('encoder_attn')));
      x = h.at(
        'hook_resid_mid_cross',
        this.encoderAttnLayerNorm.forward(tf.add(x, crossAttended), h.in('encoder_attn_layer_norm')),
      );
      const mlp = h.at('hook_mlp_out', this.fc2.forward(h.at('hook_post', gelu(this.fc1.forward(x)))));
      return h.at('hook_resid_post', this.finalLayerNorm.forward(tf.add(x, mlp), h.in('final_layer_norm')));
    });
  }

  /**
   * Cross-attention. The beams of a batch item share its keys, so their tokens are joined to one row of queries:
   * x as [B, rows / B · T, D]. Hooks receive the activations by row, [rows, heads, T, n].
   */
  private crossAttend(x: tf.Tensor3D, memory: Memory, cache: LayerCache | null, h: Hooks): tf.Tensor3D {
    const [rows, , D] = x.shape;
    const keys = cache ? cache.cross : this.encoderAttn.keyValue(memory.states, h); // [B, heads, S, d]
    const B = keys.key.shape[0];
    const queries = tf.reshape(x, [B, -1, D]) as tf.Tensor3D;
    const seen = rows === B ? h : h.seen(asRows(rows, B));
    return tf.reshape(this.encoderAttn.forward(queries, keys, memory.mask, seen), x.shape);
  }
}

/** Shows [B, heads, rows / B · T, n] to hooks as [rows, heads, T, n]. */
function asRows(rows: number, B: number): View {
  const each = rows / B;
  return {
    show: x =>
      tf.tidy(() => {
        const [, heads, joined, n] = x.shape;
        const parts = tf.reshape(x, [B, heads, each, joined / each, n]);
        return tf.reshape(tf.transpose(parts, [0, 2, 1, 3, 4]), [rows, heads, joined / each, n]);
      }),
    restore: x =>
      tf.tidy(() => {
        const [, heads, T, n] = x.shape;
        const parts = tf.transpose(tf.reshape(x, [B, each, heads, T, n]), [0, 2, 1, 3, 4]);
        return tf.reshape(parts, [B, heads, each * T, n]);
      }),
  };
}
