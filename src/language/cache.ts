import * as tf from '@tensorflow/tfjs';

/** Keys and values of one attention, each [rows, heads, T, d]. */
export interface KeyValue {
  readonly key: tf.Tensor4D;
  readonly value: tf.Tensor4D;
}

/**
 * What one decoder layer keeps between steps: keys and values of the tokens so far (`self`, one row for each
 * sequence, growing) and of the encoder's output (`cross`, one row for each image and prompt, computed once and
 * shared by the beams).
 */
export class LayerCache {
  /**
   * @param memory keys and values of the encoder's output
   * @param tokens those of the tokens so far, if there are some
   */
  constructor(
    private memory: KeyValue,
    private tokens: KeyValue | null = null,
  ) {}

  get self(): KeyValue | null {
    return this.tokens;
  }

  get cross(): KeyValue {
    return this.memory;
  }

  /** Number of tokens kept. */
  get length(): number {
    return this.tokens?.key.shape[2] ?? 0;
  }

  /** Adds the keys and values of new tokens, [rows, heads, T, d], and returns those of all. The cache owns them. */
  append({ key, value }: KeyValue): KeyValue {
    const past = this.tokens;
    this.replace({
      key: tf.keep(past ? tf.concat([past.key, key], 2) : tf.clone(key)),
      value: tf.keep(past ? tf.concat([past.value, value], 2) : tf.clone(value)),
    });
    return this.tokens!;
  }

  /** Takes keys and values of all tokens so far in place of those that it has. The cache owns them. */
  replace(next: KeyValue | null): void {
    if (this.tokens) tf.dispose([this.tokens.key, this.tokens.value]);
    this.tokens = next;
  }

  /** Row i becomes what row `rows[i]` was: beams move, finished sequences fall away. */
  reorder(rows: tf.Tensor1D): void {
    if (this.tokens) this.replace(gatherRows(this.tokens, rows));
  }

  /** The same for the images and prompts, when all sequences of some are finished. */
  keepCross(items: tf.Tensor1D): void {
    const past = this.memory;
    this.memory = gatherRows(past, items);
    tf.dispose([past.key, past.value]);
  }

  dispose(): void {
    this.replace(null);
    tf.dispose([this.memory.key, this.memory.value]);
  }
}

function gatherRows({ key, value }: KeyValue, rows: tf.Tensor1D): KeyValue {
  return { key: tf.keep(tf.gather(key, rows)), value: tf.keep(tf.gather(value, rows)) };
}
