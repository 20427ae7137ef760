import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { type Dispatcher, EnvHttpProxyAgent, fetch, type Response } from 'undici';
import { Florence2Error } from '../../errors.ts';

/** How a package manager reaches the network: certificates and proxy of its configuration. */
export interface Network {
  cert?: string;
  proxy?: string;
}

/** Fetches with the proxies of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and with a package manager's own settings. */
export class Http {
  private readonly agent: Dispatcher;

  constructor({ cert, proxy }: Network = {}) {
    const ca = cert === undefined ? {} : { ca: [...rootCertificates, ...extraCertificates(cert)] };
    this.agent = new EnvHttpProxyAgent({
      connect: { timeout: 20_000, ...ca },
      requestTls: ca,
      proxyTls: ca,
      bodyTimeout: 60_000,
      headersTimeout: 60_000,
      ...(proxy && { httpProxy: proxy, httpsProxy: proxy }),
    });
  }

  /**
   * A response with status 200 to 299, or one of `accepted`. A user and password in the address become a header.
   * @throws Florence2Error that names the address, and says with `retry` whether another try may help.
   */
  async get(url: string, headers: Record<string, string> = {}, accepted: number[] = []): Promise<Response> {
    const { address, authorization } = splitCredentials(url);
    const request = { dispatcher: this.agent, headers: { ...authorization, ...headers } };
    const response = await fetch(address, request).catch(error => {
      throw new NetworkError(`Cannot reach ${address}: ${causeOf(error)}.`, true);
    });
    if (response.ok || accepted.includes(response.status)) return response;
    await response.body?.cancel();
    const retry = response.status >= 500 || response.status === 429 || response.status === 408;
    const denied = response.status === 401 || response.status === 403 ? ': check the user, password or token' : '';
    throw new NetworkError(`${address} answered ${response.status} ${response.statusText}${denied}.`, retry);
  }

  /** Closes connections that are kept open for further requests. */
  close(): Promise<void> {
    return this.agent.close();
  }
}

export class NetworkError extends Florence2Error {
  constructor(
    message: string,
    readonly retry: boolean,
  ) {
    super(message);
  }
}

/** Calls `attempt` again, up to five times in all, after errors that may pass: 1, 2, 4 and 8 seconds later. */
export async function withRetries<T>(attempt: () => Promise<T>, firstDelay = 1000): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === 5 || !(error instanceof NetworkError && error.retry)) throw error;
      await new Promise(resolve => setTimeout(resolve, firstDelay * 2 ** (tries - 1)));
    }
  }
}

/** The address without its password, for messages. */
export const withoutCredentials = (url: string) => splitCredentials(url).address;

function splitCredentials(url: string): { address: string; authorization: Record<string, string> } {
  const parsed = new URL(url);
  const { username, password } = parsed;
  if (!username && !password) return { address: url, authorization: {} };
  parsed.username = parsed.password = '';
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { address: parsed.href, authorization: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` } };
}

/** What an error of undici means: the innermost cause has the code. */
export function causeOf(error: unknown): string {
  let cause = error as { cause?: unknown; code?: string; message?: string };
  while (cause.cause instanceof Error) cause = cause.cause;
  return cause.message || cause.code || String(error);
}

/** Naming certificates replaces Node's own, so those of NODE_EXTRA_CA_CERTS are added again. */
function extraCertificates(cert: string): string[] {
  const files = [cert, process.env.NODE_EXTRA_CA_CERTS].filter(file => file !== undefined);
  return files.map(file => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      throw new Florence2Error(`Certificate file ${file} cannot be read: ${(error as Error).message}`);
    }
  });
}
