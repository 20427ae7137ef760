import * as tf from '@tensorflow/tfjs';
import type { TextConfig } from '../config/model.ts';
import { Embedding } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import { Decoder } from './decoder.ts';
import { Encoder } from './encoder.ts';

/** BART: an encoder and a decoder that share one table of token embeddings. */
export class LanguageModel {
  /** The embeddings of prompts. */
  readonly shared: Embedding;
  /** The embeddings of answers: the shared ones, unless an adapter or a checkpoint has others. */
  readonly answers: Embedding;
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  private readonly embedScale: number;

  constructor(p: Params, config: TextConfig) {
    this.shared = new Embedding(p.at('shared'), config.vocabSize, config.dModel, config.padTokenId);
    const { vocabSize, dModel, padTokenId } = config;
    this.answers = new Embedding(p.at('decoder').at('embed_tokens'), vocabSize, dModel, padTokenId, this.shared.weight);
    this.encoder = new Encoder(p.at('encoder'), config);
    this.decoder = new Decoder(p.at('decoder'), config);
    this.embedScale = config.scaleEmbedding ? Math.sqrt(config.dModel) : 1;
  }

  /** Tokens of prompts, ids [B, T] int32 -> [B, T, D] */
  embedPrompt(ids: tf.Tensor2D): tf.Tensor3D {
    return this.scaled(this.shared, ids);
  }

  /** Tokens of answers, ids [B, T] int32 -> [B, T, D] */
  embedAnswer(ids: tf.Tensor2D): tf.Tensor3D {
    return this.scaled(this.answers, ids);
  }

  private scaled(table: Embedding, ids: tf.Tensor2D): tf.Tensor3D {
    if (this.embedScale === 1) return table.forward(ids);
    return tf.tidy(() => tf.mul(table.forward(ids), this.embedScale));
  }
}
