import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import type { LayerCache } from '../language/cache.ts';
import type { Memory } from '../language/decoder.ts';
import type { Florence2Model } from './florence2_model.ts';

/**
 * Runs the parts of the network that answering a question consists of. How they run is the executor's business: the
 * results are the same. The caller disposes them.
 */
export interface Executor {
  /** Normalised pixels [B, H, W, 3] -> DaViT's last map [B, H/32, W/32, C] */
  visionMap(pixels: tf.Tensor4D, h: Hooks): tf.Tensor4D;
  /** inputsEmbeds [B, S, D], mask [B, 1, 1, S] or null -> the encoder's output [B, S, D] */
  encode(inputsEmbeds: tf.Tensor3D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D;
  /** The caches of a generation over the encoder's output [B, S, D]. */
  newCaches(states: tf.Tensor3D, h: Hooks): LayerCache[];
  /** Newest tokens [rows, 1] -> logits of the next ones [rows, V]. The caches grow by one. */
  decodeStep(tokens: tf.Tensor2D, memory: Memory, caches: readonly LayerCache[], h: Hooks): tf.Tensor2D;
  dispose(): void;
}

/** Calls the network's modules, whose operations run one after the other. */
export class EagerExecutor implements Executor {
  constructor(private readonly model: Florence2Model) {}

  visionMap(pixels: tf.Tensor4D, h: Hooks): tf.Tensor4D {
    return this.model.visionTower.forward(pixels, h.in('vision_tower'));
  }

  encode(inputsEmbeds: tf.Tensor3D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D {
    return this.model.languageModel.encoder.forward(inputsEmbeds, mask, h.in('language_model.encoder'));
  }

  newCaches(states: tf.Tensor3D, h: Hooks): LayerCache[] {
    return this.model.languageModel.decoder.newCaches(states, h.in('language_model.decoder'));
  }

  decodeStep(tokens: tf.Tensor2D, memory: Memory, caches: readonly LayerCache[], h: Hooks): tf.Tensor2D {
    const { languageModel, lmHead } = this.model;
    return tf.tidy(() => {
      const embeds = languageModel.embed(tokens); // [rows, 1, D]
      const hidden = languageModel.decoder.forward(embeds, memory, caches, h.in('language_model.decoder')); // [rows, 1, D]
      return tf.squeeze(lmHead.forward(hidden, h), [1]) as tf.Tensor2D; // [rows, V]
    });
  }

  dispose(): void {}
}

/** How products of many rows are computed, in the vision tower and the encoder: bf16 keeps 8 bits of each factor. */
export type Precision = 'fp32' | 'bf16';
