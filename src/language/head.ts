import * as tf from '@tensorflow/tfjs';
import type { Hooks } from '../hooks/hooks.ts';
import type { Embedding } from '../nn/layers.ts';
import { addLowRank } from '../nn/low_rank.ts';
import type { Adaptable, LowRank, Parameter, Params } from '../nn/params.ts';

/**
 * From hidden states to logits over the vocabulary: a product with the token embeddings, unless the checkpoint has a
 * head of its own, and a bias where it has one.
 */
export class LmHead implements Adaptable {
  /** [V, D]; tied to the token embeddings where a checkpoint has no head of its own. */
  readonly weight: Parameter;
  /** [1, V]; Microsoft's layout has it, and always zero in what was published. */
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

  /** Follows a vocabulary that has grown: tokens that are new have no bias. */
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
    return tf.matMul(hidden, this.weight.value as tf.Tensor2D, false, true);
  }

  /** [D, V], made anew when the weight is another tensor than it was. */
  private transposedWeight(): tf.Tensor2D {
    const of = this.weight.value;
    if (this.transposed?.of !== of) {
      this.dispose();
      this.transposed = { of, weight: tf.keep(tf.transpose(of as tf.Tensor2D)) };
    }
    return this.transposed!.weight;
  }
}
