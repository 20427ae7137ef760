import * as tf from '@tensorflow/tfjs';
import type { TextConfig } from '../config/model.ts';
import { Embedding } from '../nn/layers.ts';
import type { Params } from '../nn/params.ts';
import { Decoder } from './decoder.ts';
import { Encoder } from './encoder.ts';

/** BART: an encoder and a decoder that share one table of token embeddings. */
export class LanguageModel {
  readonly shared: Embedding;
  readonly encoder: Encoder;
  readonly decoder: Decoder;
  private readonly embedScale: number;

  constructor(p: Params, config: TextConfig) {
    this.shared = new Embedding(p.at('shared'), config.vocabSize, config.dModel, config.padTokenId);
    this.encoder = new Encoder(p.at('encoder'), config);
    this.decoder = new Decoder(p.at('decoder'), config);
    this.embedScale = config.scaleEmbedding ? Math.sqrt(config.dModel) : 1;
  }

  /** ids [B, T] int32 -> [B, T, D] */
  embed(ids: tf.Tensor2D): tf.Tensor3D {
    if (this.embedScale === 1) return this.shared.forward(ids);
    return tf.tidy(() => tf.mul(this.shared.forward(ids), this.embedScale));
  }
}
