import { Florence2Error } from '../errors.ts';

/** A failed request, or a connection that broke. */
export class NetworkError extends Florence2Error {
  constructor(
    message: string,
    /** Whether another attempt may succeed. */
    readonly transient: boolean,
    cause?: unknown,
    /** Pause in milliseconds that the server asked for before another attempt. */
    readonly retryAfter: number = 0,
  ) {
    super(message, { code: 'NETWORK', cause });
  }
}

const ATTEMPTS = 5;

/**
 * Calls `attempt` up to five times, until it succeeds or throws something other than a transient NetworkError.
 *
 * @param firstDelay pause before the second attempt in milliseconds; it doubles with each further attempt. A longer pause
 *   that the server asked for is kept
 * @throws the signal's reason when it is aborted during a pause
 */
export async function withRetries<T>(attempt: () => Promise<T>, firstDelay = 1000, signal?: AbortSignal): Promise<T> {
  for (let n = 1; ; n++) {
    try {
      return await attempt();
    } catch (error) {
      if (n === ATTEMPTS || !(error instanceof NetworkError && error.transient)) throw error;
      await pause(Math.max(error.retryAfter, firstDelay * 2 ** (n - 1)), signal);
    }
  }
}

/** Waits. @throws the signal's reason as soon as it is aborted */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let end = (): void => {};
  await new Promise<void>(resolve => {
    end = resolve;
    timer = setTimeout(end, milliseconds);
    signal?.addEventListener('abort', end);
  });
  clearTimeout(timer);
  signal?.removeEventListener('abort', end);
  signal?.throwIfAborted();
}

/**
 * Returns the body of a response, decompressed.
 *
 * @param most limit of its size in bytes; the connection is closed beyond it
 * @throws NetworkError if the body is longer, and the connection's own errors
 */
export async function readBody(response: Response, url: string, most: number): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    size += next.value.length;
    parts.push(next.value);
    if (size <= most) continue;
    await reader?.cancel();
    throw new NetworkError(`The answer of ${url} is longer than the limit of ${most} bytes.`, false);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Whether a later request may succeed after a response with this HTTP status. */
export const isTransientStatus = (status: number): boolean => status >= 500 || status === 429 || status === 408;

/** Returns the pause in milliseconds that a Retry-After header asks for, in seconds or as a date; 0 without one. */
export function retryAfter(header: string | null): number {
  if (header === null) return 0;
  const pause = /^\d+$/.test(header.trim()) ? 1000 * Number(header) : Date.parse(header) - Date.now();
  return Math.max(0, pause || 0);
}

/** Returns the message of an error's innermost cause, which says why a fetch failed. */
export function causeOf(error: unknown): string {
  let inner = error as { cause?: unknown; code?: string; message?: string; errors?: Error[] };
  while (inner.cause instanceof Error) inner = inner.cause;
  return inner.message || inner.errors?.[0]?.message || inner.code || String(error);
}
