import * as tf from '@tensorflow/tfjs';

/** Keys and values of one attention, each [rows, heads, T, d]. */
export interface KeyValue {
  readonly key: tf.Tensor4D;
  readonly value: tf.Tensor4D;
}

/**
 * What one decoder layer keeps between steps: keys and values of the tokens so far (one row for each sequence, growing)
 * and of the encoder's output (`cross`, one row for each image and prompt, computed once and shared by the beams).
 *
 * The tokens' lie in two parts where somebody has called `seal`: to add a token is to copy those since then.
 */
export class LayerCache {
  /**
   * @param memory keys and values of the encoder's output
   * @param recent those of the tokens so far, if there are some, or of those since `sealed`
   */
  constructor(
    private memory: KeyValue,
    private recent: KeyValue | null = null,
    private sealed: KeyValue | null = null,
  ) {}

  /** The two parts of what is kept of the tokens, which the cache owns. */
  get parts(): { readonly sealed: KeyValue | null; readonly recent: KeyValue | null } {
    return { sealed: this.sealed, recent: this.recent };
  }

  get cross(): KeyValue {
    return this.memory;
  }

  /** Number of tokens kept. */
  get length(): number {
    return (this.sealed?.key.shape[2] ?? 0) + (this.recent?.key.shape[2] ?? 0);
  }

  /** Keys and values of all tokens so far. The caller disposes them. */
  all(): KeyValue {
    if (this.length === 0) throw new Error('The cache has no tokens yet.');
    return join(this.sealed, this.recent);
  }

  /** Within a tidy: adds the keys and values of new tokens, [rows, heads, T, d], and returns those of all. */
  append(added: KeyValue): KeyValue {
    const recent = join(this.recent, added);
    this.replace(kept(recent));
    return this.sealed ? join(this.sealed, recent) : recent;
  }

  /** Takes other keys and values of the tokens since the last `seal`. The cache owns them. */
  replace(recent: KeyValue | null): void {
    if (this.recent) tf.dispose([this.recent.key, this.recent.value]);
    this.recent = recent;
  }

  /** Joins the two parts, so that the tokens so far are no longer copied. */
  seal(): void {
    const { sealed } = this;
    this.sealed = this.length > 0 ? kept(this.all()) : null;
    if (sealed) tf.dispose([sealed.key, sealed.value]);
    this.replace(null);
  }

  /** Row i becomes what row `rows[i]` was: beams move, finished sequences fall away. */
  reorder(rows: tf.Tensor1D): void {
    if (this.recent) this.replace(gatherRows(this.recent, rows));
    const { sealed } = this;
    if (!sealed) return;
    this.sealed = gatherRows(sealed, rows);
    tf.dispose([sealed.key, sealed.value]);
  }

  /** The same for the images and prompts, when all sequences of some are finished. */
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

/** Keys and values one after the other. */
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
