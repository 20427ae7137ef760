import * as tf from '@tensorflow/tfjs';

/** Keys and values of one attention module, each [rows, heads, T, d]. */
export interface KeyValue {
  readonly key: tf.Tensor4D;
  readonly value: tf.Tensor4D;
}

/**
 * The key/value cache of one decoder layer. It holds the keys and values of the tokens generated so far (one row per
 * sequence, growing) and those of the encoder's output (`cross`: one row per batch item, computed once and shared by
 * the item's beams).
 *
 * `append` copies the keys and values it extends. After `seal` the tokens are in two parts, and only those added since
 * then are copied.
 */
export class LayerCache {
  /**
   * @param memory keys and values of the encoder's output
   * @param recent keys and values of the tokens after `sealed`; null without any
   * @param sealed keys and values of the tokens before the last `seal`; null without any
   */
  constructor(
    private memory: KeyValue,
    private recent: KeyValue | null = null,
    private sealed: KeyValue | null = null,
  ) {}

  /** Keys and values of the tokens in two parts: before and after the last `seal`. The cache owns them. */
  get parts(): { readonly sealed: KeyValue | null; readonly recent: KeyValue | null } {
    return { sealed: this.sealed, recent: this.recent };
  }

  /** Keys and values of the encoder's output. The cache owns them. */
  get cross(): KeyValue {
    return this.memory;
  }

  /** Number of tokens in the cache. */
  get length(): number {
    return (this.sealed?.key.shape[2] ?? 0) + (this.recent?.key.shape[2] ?? 0);
  }

  /** Returns the keys and values of all tokens. The caller disposes them. */
  all(): KeyValue {
    if (this.length === 0) throw new Error('The cache has no tokens yet.');
    return join(this.sealed, this.recent);
  }

  /** Within a tidy: adds keys and values of new tokens, [rows, heads, T, d], and returns those of all tokens. */
  append(added: KeyValue): KeyValue {
    const recent = join(this.recent, added);
    this.replace(kept(recent));
    return this.sealed ? join(this.sealed, recent) : recent;
  }

  /** Replaces the keys and values of the tokens since the last `seal`. The cache takes ownership. */
  replace(recent: KeyValue | null): void {
    if (this.recent) tf.dispose([this.recent.key, this.recent.value]);
    this.recent = recent;
  }

  /** Moves all tokens to the sealed part, so that `append` no longer copies them. */
  seal(): void {
    const { sealed } = this;
    this.sealed = this.length > 0 ? kept(this.all()) : null;
    if (sealed) tf.dispose([sealed.key, sealed.value]);
    this.replace(null);
  }

  /** Replaces row i by row `rows[i]`, for beams that move. Rows that `rows` does not name are dropped. */
  reorder(rows: tf.Tensor1D): void {
    if (this.recent) this.replace(gatherRows(this.recent, rows));
    const { sealed } = this;
    if (!sealed) return;
    this.sealed = gatherRows(sealed, rows);
    tf.dispose([sealed.key, sealed.value]);
  }

  /** Keeps only these batch items of `cross`, when all sequences of the others are finished. */
  keepCross(items: tf.Tensor1D): void {
    const past = this.memory;
    this.memory = gatherRows(past, items);
    tf.dispose([past.key, past.value]);
  }

  dispose(): void {
    this.replace(null);
    if (this.sealed) tf.dispose([this.sealed.key, this.sealed.value]);
    tf.dispose([this.memory.key, this.memory.value]);
  }
}

/** Concatenates keys and values along the tokens. */
function join(first: KeyValue | null, second: KeyValue | null): KeyValue {
  if (!first || !second) {
    const { key, value } = (first ?? second)!;
    return { key: tf.clone(key), value: tf.clone(value) };
  }
  return { key: tf.concat([first.key, second.key], 2), value: tf.concat([first.value, second.value], 2) };
}

const kept = ({ key, value }: KeyValue): KeyValue => ({ key: tf.keep(key), value: tf.keep(value) });

function gatherRows({ key, value }: KeyValue, rows: tf.Tensor1D): KeyValue {
  return kept({ key: tf.gather(key, rows), value: tf.gather(value, rows) });
}

/** Groups tensors that alternate between keys and values. */
export function pairs(tensors: readonly tf.Tensor[]): KeyValue[] {
  return Array.from({ length: tensors.length / 2 }, (_, i) => {
    return { key: tensors[2 * i] as tf.Tensor4D, value: tensors[2 * i + 1] as tf.Tensor4D };
  });
}
