import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../internals/hooks.ts';
import type { Embedding } from '../nn/layers.ts';
import type { Parameter, Params } from '../nn/params.ts';

/**
 * From hidden states to logits over the vocabulary: a product with the token embeddings, unless the checkpoint has a
 * head of its own, and a bias where it has one.
 */
export class LmHead {
  /** [V, D]; absent from a checkpoint in which the head is the token embedding. */
  readonly weight: Parameter;
  /** [1, V]; Microsoft's layout has it, and always zero in what was published. */
  readonly finalLogitsBias: Parameter;
  private transposed?: { of: tf.Tensor; weight: tf.Tensor2D };

  constructor(
    p: Params,
    private readonly shared: Embedding,
    vocabSize: number,
    dModel: number,
  ) {
    this.weight = p.optional('lm_head.weight', [vocabSize, dModel]);
    this.finalLogitsBias = p.optional('final_logits_bias', [1, vocabSize]);
  }

  /** hidden [rows, T, D] -> logits [rows, T, V] */
  forward(hidden: tf.Tensor3D, h: Hooks): tf.Tensor3D {
    const [rows, T, D] = hidden.shape;
    return tf.tidy(() => {
      const product = this.product(tf.reshape(hidden, [rows * T, D]) as tf.Tensor2D); // [rows · T, V]
      const logits = this.finalLogitsBias.loaded ? tf.add(product, this.finalLogitsBias.value) : product;
      return h.at('hook_logits', tf.reshape(logits, [rows, T, -1]) as tf.Tensor3D);
    });
  }

  /** Where a derived copy of the weight makes products faster, makes it now rather than in the first answer. */
  prepare(): void {
    if (tf.getBackend() === 'wasm') this.transposedWeight();
  }

  dispose(): void {
    this.transposed?.weight.dispose();
    this.transposed = undefined;
  }

  private product(hidden: tf.Tensor2D): tf.Tensor2D {
    // Reading the table across its rows at each step would take wasm ten times as long.
    if (tf.getBackend() === 'wasm') return tf.matMul(hidden, this.transposedWeight());
    return tf.matMul(hidden, this.table(), false, true);
  }

  /** [V, D] */
  private table(): tf.Tensor2D {
    return (this.weight.loaded ? this.weight : this.shared.weight).value as tf.Tensor2D;
  }

  /** [D, V], made anew when the weight is another tensor than it was. */
  private transposedWeight(): tf.Tensor2D {
    const of = this.table();
    if (this.transposed?.of !== of) {
      this.dispose();
      this.transposed = { of, weight: tf.keep(tf.transpose(of)) };
    }
    return this.transposed!.weight;
  }
}
