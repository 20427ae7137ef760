import type * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import type { LayerCache } from '../language/cache.ts';
import type { Memory } from '../language/decoder.ts';

/**
 * The four passes of inference. `Florence2Model` runs them operation by operation; `GraphExecutor` runs them as
 * TensorFlow graphs with the same results. The caller disposes the results.
 */
export interface Executor {
  /**
   * Returns how many images of this size should run through the vision tower together: larger batches need more memory
   * without saving time. Infinite if there is no reason to split a batch.
   */
  imagesPerPass(height: number, width: number, h: Hooks): number;
  /** Normalised pixels [B, H, W, 3] -> DaViT's last map [B, H/32, W/32, C] */
  visionMap(pixels: tf.Tensor4D, h: Hooks): tf.Tensor4D;
  /** inputsEmbeds [B, S, D], mask [B, 1, 1, S] or null -> encoder output [B, S, D] */
  encode(inputsEmbeds: tf.Tensor3D, mask: tf.Tensor4D | null, h: Hooks): tf.Tensor3D;
  /** Creates one key/value cache per decoder layer from the encoder output [B, S, D]. */
  newCaches(states: tf.Tensor3D, h: Hooks): LayerCache[];
  /** Newest tokens [rows, 1] -> logits of the next tokens [rows, V]. Each cache grows by one position. */
  decodeStep(tokens: tf.Tensor2D, memory: Memory, caches: readonly LayerCache[], h: Hooks): tf.Tensor2D;
  dispose(): void;
}

/** Precision of matrix products with many rows, in the vision tower and the encoder. bf16 keeps 8 significant bits. */
export type Precision = 'fp32' | 'bf16';

/** Most pixels per pass of the vision tower: one 768×768 image keeps the processor busy. */
const PIXELS_PER_PASS = 768 * 768;

/** Returns how many images of this size have at most `PIXELS_PER_PASS` pixels; at least 1. */
export const imagesOf = (height: number, width: number): number =>
  Math.max(1, Math.floor(PIXELS_PER_PASS / (height * width)));
