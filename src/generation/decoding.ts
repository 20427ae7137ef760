import type * as tf from '@tensorflow/tfjs';

/**
 * The decoder of one generation, with its caches: turns the newest tokens into logits of the next ones. The searches of
 * this folder use the model only through this interface.
 *
 * A row is a sequence. Each batch item has `beams` consecutive rows. The rows of an item share its keys and values of
 * cross-attention, so a row never moves to another item.
 */
export interface DecodingSession {
  /** Number of unfinished sequences: unfinished batch items × beams. */
  readonly rows: number;

  /**
   * Runs one decoder step.
   *
   * @param tokens [rows], the newest token of each row; in the first step the decoder start token
   * @returns logits of the next token [rows, V]; the caller disposes them
   */
  step(tokens: Int32Array): tf.Tensor2D;

  /**
   * Replaces row `i` by row `index[i]`. An `index` shorter than `rows` drops whole items, always all rows of an item:
   * item `j` is then the previous item `floor(index[j * beams] / beams)`.
   */
  reorder(index: Int32Array): void;

  /** Disposes the caches. The creator of the session calls it; the searches do not. */
  dispose(): void;
}

/** One generated answer. */
export interface GeneratedSequence {
  /** The decoder start token and the generated tokens, including the final end token if any. Not padded. */
  ids: number[];
  /**
   * `logProbs[i]` is the log-probability of `ids[i + 1]`: the log-softmax of the model's logits, before penalties, bans
   * and temperature. Forced tokens have 0.
   */
  logProbs: number[];
  /**
   * `nearbyProbs[i]` is the probability of `ids[i + 1]`, 0 to 1. For a location token it is that of the location tokens
   * within `NEARBY_BINS` bins, 2 % of the image's side. Forced tokens have 1.
   */
  nearbyProbs: number[];
  /**
   * Sum of `logProbs` / (their number ** lengthPenalty). Beams are ranked by it, higher is better; theirs is the sum
   * after `repetitionPenalty` and `temperature`.
   */
  score: number;
  /** Whether the limit `maxNewTokens` ended the answer. Also true if an end token was forced there. */
  truncated: boolean;
}

/**
 * Lets pending timers, requests and page events run. On backends that compute on the calling thread, `await
 * tensor.data()` does not leave the microtask queue. Without `nextTurn` a generation would block its process from start
 * to end, and no timer could abort it.
 */
const nextTurn: () => Promise<void> =
  typeof setImmediate === 'function'
    ? () => new Promise(resolve => void setImmediate(resolve))
    : () =>
        new Promise(resolve => {
          const { port1, port2 } = new MessageChannel(); // setTimeout would wait at least 4 ms
          port1.onmessage = () => {
            port1.close();
            resolve();
          };
          port2.postMessage(null);
        });

/** Waits for `nextTurn`, then throws the signal's reason if it is aborted. */
export async function turn(signal?: AbortSignal): Promise<void> {
  await nextTurn();
  signal?.throwIfAborted();
}
