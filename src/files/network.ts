import { Florence2Error } from '../errors.ts';

/** A failed request, or a connection that broke. */
export class NetworkError extends Florence2Error {
  constructor(
    message: string,
    /** Whether another attempt may succeed. */
    readonly transient: boolean,
    cause?: unknown,
  ) {
    super(message, { code: 'NETWORK', cause });
  }
}

const ATTEMPTS = 5;

/**
 * Calls `attempt` up to five times, until it succeeds or throws something other than a transient NetworkError.
 *
 * @param firstDelay pause before the second attempt in milliseconds; it doubles with each further attempt
 */
export async function withRetries<T>(attempt: () => Promise<T>, firstDelay = 1000): Promise<T> {
  for (let n = 1; ; n++) {
    try {
      return await attempt();
    } catch (error) {
      if (n === ATTEMPTS || !(error instanceof NetworkError && error.transient)) throw error;
      await new Promise(resolve => setTimeout(resolve, firstDelay * 2 ** (n - 1)));
    }
  }
}

/** Whether a later request may succeed after a response with this HTTP status. */
export const isTransientStatus = (status: number): boolean => status >= 500 || status === 429 || status === 408;

/** Returns the message of an error's innermost cause, which says why a fetch failed. */
export function causeOf(error: unknown): string {
  let inner = error as { cause?: unknown; code?: string; message?: string; errors?: Error[] };
  while (inner.cause instanceof Error) inner = inner.cause;
  return inner.message || inner.errors?.[0]?.message || inner.code || String(error);
}
