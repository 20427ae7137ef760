import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import type { Embedding } from '../nn/layers.ts';
import { addLowRank } from '../nn/low_rank.ts';
import type { Adaptable, LowRank, Parameter, Params } from '../nn/params.ts';

/**
 * Computes logits over the vocabulary from hidden states: a product with the token embeddings or with the checkpoint's
 * separate `lm_head.weight`, plus a bias if the checkpoint has one.
 */
export class LmHead implements Adaptable {
  /** [V, D]; the token embeddings, unless the checkpoint has a separate head. */
  readonly weight: Parameter;
  /** [1, V]; only in Microsoft's layout, and zero in all published checkpoints. */
  readonly finalLogitsBias: Parameter;
  adapters: readonly LowRank[] | null = null;
  private transposed?: { of: tf.Tensor; weight: tf.Tensor2D };

  constructor(p: Params, shared: Embedding, vocabSize: number, dModel: number) {
    this.weight = p.at('lm_head').optional('weight', [vocabSize, dModel], shared.weight);
    this.finalLogitsBias = p.optional('final_logits_bias', [1, vocabSize]);
    p.at('lm_head').adaptable(this);
  }

  /** hidden [rows, T, D] -> logits [rows, T, V] */
  forward(hidden: tf.Tensor3D, h: Hooks): tf.Tensor3D {
    const [rows, T, D] = hidden.shape;
    return tf.tidy(() => {
      const x = tf.reshape(hidden, [rows * T, D]) as tf.Tensor2D;
      const product = this.product(x); // [rows · T, V]
      const plain: tf.Tensor2D = this.finalLogitsBias.loaded ? tf.add(product, this.finalLogitsBias.value) : product;
      const logits = this.adapters ? addLowRank(plain, x, this.adapters) : plain;
      return h.at('hook_logits', tf.reshape(logits, [rows, T, -1]) as tf.Tensor3D);
    });
  }

  /** Adapts the shapes to a vocabulary that has grown. New tokens have a bias of 0. */
  resize(vocabSize: number): void {
    const { weight, finalLogitsBias } = this;
    const added = vocabSize - finalLogitsBias.shape[1];
    if (!weight.loaded) weight.shape = [vocabSize, weight.shape[1]];
    if (finalLogitsBias.loaded)
      finalLogitsBias.resize(
        tf.tidy(() =>
          tf.pad(finalLogitsBias.value, [
            [0, 0],
            [0, added],
          ]),
        ),
      );
    else finalLogitsBias.shape = [1, vocabSize];
  }

  /** On wasm, computes the transposed copy of the weight, which would otherwise delay the first answer. */
  prepare(): void {
    if (tf.getBackend() === 'wasm') this.transposedWeight();
  }

  dispose(): void {
    this.transposed?.weight.dispose();
    this.transposed = undefined;
  }

  private product(hidden: tf.Tensor2D): tf.Tensor2D {
    // On wasm a product with the untransposed table takes ten times as long.
    if (tf.getBackend() === 'wasm') return tf.matMul(hidden, this.transposedWeight());
    return tf.matMul(hidden, this.weight.value as tf.Tensor2D, false, true);
  }

  /** Returns the weight as [D, V]. The copy is recomputed after the weight's tensor was replaced. */
  private transposedWeight(): tf.Tensor2D {
    const of = this.weight.value;
    if (this.transposed?.of !== of) {
      this.dispose();
      this.transposed = { of, weight: tf.keep(tf.transpose(of as tf.Tensor2D)) };
    }
    return this.transposed!.weight;
  }
}
