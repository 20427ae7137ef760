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
