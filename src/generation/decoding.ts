import type * as tf from '@tensorflow/tfjs';

/**
 * One generation's decoder with its caches: what turns the newest tokens into the logits of the next ones. The
 * algorithms of this folder know the model through nothing else.
 *
 * Rows are sequences: `beams` rows for each batch item, items in order (item-major). An encoder's output belongs to an
 * item, so the rows of one item share their cross-attention keys and values, and no row ever moves to another item.
 */
export interface DecodingSession {
  /** Sequences in flight: batch items that still run × beams. */
  readonly rows: number;

  /**
   * One decoder step.
   * @param tokens [rows], the newest token of each row, the decoder start token at first
   * @returns logits of the next position [rows, V], which the caller disposes
   */
  step(tokens: Int32Array): tf.Tensor2D;

  /**
   * Puts row `index[i]` in place of row `i`. Where `index` is shorter than `rows`, whole items have been dropped
   * (always all of an item's rows): item `j` of what remains is item `floor(index[j * beams] / beams)` of what was.
   */
  reorder(index: Int32Array): void;

  /** Frees the caches. Whoever made the session calls it, the algorithms do not. */
  dispose(): void;
}

/** One generated answer. */
export interface GeneratedSequence {
  /** The decoder start token, then every generated token, `</s>` included where there is one. Never padded. */
  ids: number[];
  /**
   * `logProbs[i]` is the log-probability of `ids[i + 1]`: the log-softmax of the model's own logits, taken before the
   * n-gram block, which bans tokens and renormalises nothing. A forced token was not the model's choice and has 0.
   */
  logProbs: number[];
  /** Sum of `logProbs` / (their number ** lengthPenalty). Higher is better; beams are ranked by it. */
  score: number;
  /** True when the answer ran into `maxNewTokens`, whether or not a `</s>` was forced there. */
  truncated: boolean;
}

/**
 * Lets everything else that waits run first: timers, requests, the page. On backends that compute on the calling
 * thread `await tensor.data()` never leaves the microtask queue, so without this a generation would block its process
 * from start to end, and no timer could abort it.
 */
export const nextTurn: () => Promise<void> =
  typeof setImmediate === 'function'
    ? () => new Promise(resolve => void setImmediate(resolve))
    : () =>
        new Promise(resolve => {
          const { port1, port2 } = new MessageChannel(); // unlike setTimeout not held back by 4 ms
          port1.onmessage = () => {
            port1.close();
            resolve();
          };
          port2.postMessage(null);
        });

/** `nextTurn`, then the signal's reason is thrown if it has been aborted. */
export async function turn(signal?: AbortSignal): Promise<void> {
  await nextTurn();
  signal?.throwIfAborted();
}
