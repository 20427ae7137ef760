import { Florence2Error } from './errors.ts';

/** What a call about several items does with one that fails: ends with its error, or returns the error in its place. */
export type ErrorMode = 'throw' | 'skip';

/**
 * Processes items as one batch. If that fails, each half is processed separately, down to the items that fail: these
 * have their error as the result. Errors other than Florence2Errors, such as that of an abort, end the call.
 *
 * @param run processes items; returns one result for each
 */
export async function skipErrors<Item, Result>(
  items: readonly Item[],
  run: (items: readonly Item[]) => Promise<readonly Result[]>,
): Promise<(Result | Florence2Error)[]> {
  try {
    return [...(await run(items))];
  } catch (error) {
    if (!(error instanceof Florence2Error) || items.length === 0) throw error;
    if (items.length === 1) return [error];
    const half = Math.ceil(items.length / 2);
    const first = await skipErrors(items.slice(0, half), run);
    return [...first, ...(await skipErrors(items.slice(half), run))];
  }
}
