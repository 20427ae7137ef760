import * as tf from '@tensorflow/tfjs';
import { lowRankDelta, lowRankShapes } from '../nn/low_rank.ts';
import { type LowRank, Parameter } from '../nn/params.ts';

/** What layers need of their adapter, a `Lora`. */
interface Owner {
  readonly dora: boolean;
  readonly inputDropout: (<T extends tf.Tensor>(x: T, name: string) => T) | null;
  factor(r: number, alpha: number): number;
}

/** The low-rank product that an adapter adds to one layer. */
export class LoraLayer implements LowRank {
  readonly a: Parameter;
  readonly b: Parameter;
  /** DoRA: the lengths of the columns of the weight [out], of a convolution [1, out, 1, 1]. Else null. */
  readonly lengths: Parameter | null;

  constructor(
    private readonly lora: Owner,
    readonly module: string,
    readonly weight: Parameter,
    readonly r: number,
    readonly alpha: number,
  ) {
    const { a, b, layout } = lowRankShapes(weight, r);
    this.a = new Parameter(`${module}.lora_A.weight`, a, layout);
    this.b = new Parameter(`${module}.lora_B.weight`, b, layout);
    const [out, , ...kernel] = weight.shape;
    const shape = kernel.length > 0 ? [1, out, 1, 1] : [out];
    this.lengths = lora.dora ? new Parameter(`${module}.lora_magnitude_vector`, shape) : null;
  }

  /** Returns DoRA's weight: the columns of W + s · A B, each with the length that `lengths` says. */
  directedWeight(): tf.Tensor {
    return tf.tidy(() => {
      const columns = tf.add(this.weight.original, lowRankDelta(this.weight, [this])); // [..., out]
      const norm = tf.sqrt(tf.sum(tf.square(columns), columns.shape.map((_, axis) => axis).slice(0, -1))); // [out]
      return tf.mul(columns, tf.div(tf.reshape(this.lengths!.value, [-1]), norm));
    });
  }

  /** Factor of the product B A. */
  get scale(): number {
    return this.lora.factor(this.r, this.alpha);
  }

  /** Returns the product with the present scale, which later changes of the adapter's scale do not affect. */
  fixed(): LowRank {
    const { a, b, scale } = this;
    return { a, b, scale, drop: x => this.drop(x) };
  }

  /** Applies dropout to the layer's input during training. */
  drop<T extends tf.Tensor>(x: T): T {
    return this.lora.inputDropout ? this.lora.inputDropout(x, this.module) : x;
  }
}

/**
 * The low-rank product that an adapter adds to a table of embeddings, W + s · (B A)ᵀ, as PEFT's `lora.Embedding`. The sum
 * is computed when the adapter is loaded: a look-up in it takes no extra time.
 */
export class LoraEmbedding {
  readonly a: Parameter; // [r, V]
  readonly b: Parameter; // [D, r]

  /** @param weight the table, [V, D] */
  constructor(
    private readonly lora: Owner,
    readonly module: string,
    readonly weight: Parameter,
    readonly r: number,
    readonly alpha: number,
  ) {
    const [V, D] = weight.shape;
    this.a = new Parameter(`${module}.lora_embedding_A`, [r, V]);
    this.b = new Parameter(`${module}.lora_embedding_B`, [D, r]);
  }

  /** Returns the table with the product at the present scale, [V, D]. */
  sum(): tf.Tensor {
    const scale = this.lora.factor(this.r, this.alpha);
    return tf.tidy(() => {
      const b = tf.mul(this.b.value as tf.Tensor2D, scale);
      return tf.add(this.weight.original, tf.matMul(this.a.value as tf.Tensor2D, b, true, true)); // [V, D]
    });
  }
}

/** Names of the modules that may be adapted so: the table of prompts, and that of answers. */
export const TABLES = ['language_model.shared', 'language_model.decoder.embed_tokens'] as const;

/** PEFT wraps the encoder's table too, in which Florence-2 looks nothing up: its adapter has no effect. */
export const UNUSED_TABLE = 'language_model.encoder.embed_tokens';
