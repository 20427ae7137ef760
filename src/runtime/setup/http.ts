import { readFileSync } from 'node:fs';
import { rootCertificates } from 'node:tls';
import { type Dispatcher, EnvHttpProxyAgent, fetch, type Response } from 'undici';
import { Florence2Error } from '../../errors.ts';
import { causeOf, isTransientStatus, NetworkError } from '../../files/network.ts';

/** A package manager's network settings. */
export interface Network {
  /** A file of additional certificates to trust. */
  cert?: string;
  /** URL of a proxy for all requests. Default: the proxies of the environment variables. */
  proxy?: string;
}

/** An HTTP client that uses HTTP_PROXY, HTTPS_PROXY and NO_PROXY, and a package manager's own settings. */
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
   * Returns the response if its status is 200 to 299 or in `accepted`. User and password of the URL are sent as a header.
   * @throws NetworkError that names the URL; it is `transient` if another attempt may succeed
   */
  async get(url: string, headers: Record<string, string> = {}, accepted: number[] = []): Promise<Response> {
    const { address, authorization } = splitCredentials(url);
    const request = { dispatcher: this.agent, headers: { ...authorization, ...headers } };
    const response = await fetch(address, request).catch(error => {
      throw new NetworkError(`Cannot reach ${address}: ${causeOf(error)}.`, true, error);
    });
    if (response.ok || accepted.includes(response.status)) return response;
    await response.body?.cancel();
    const denied = response.status === 401 || response.status === 403 ? ': check the user, password or token' : '';
    throw new NetworkError(
      `${address} answered ${response.status} ${response.statusText}${denied}.`,
      isTransientStatus(response.status),
    );
  }

  /** Closes idle connections. */
  close(): Promise<void> {
    return this.agent.close();
  }
}

/** Returns a URL without user and password, for messages. */
export const withoutCredentials = (url: string) => splitCredentials(url).address;

function splitCredentials(url: string): { address: string; authorization: Record<string, string> } {
  const parsed = new URL(url);
  const { username, password } = parsed;
  if (!username && !password) return { address: url, authorization: {} };
  parsed.username = parsed.password = '';
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { address: parsed.href, authorization: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` } };
}

/** Reads a file of certificates and NODE_EXTRA_CA_CERTS: undici's `ca` option replaces Node's default list. */
function extraCertificates(cert: string): string[] {
  const files = [cert, process.env.NODE_EXTRA_CA_CERTS].filter(file => file !== undefined);
  return files.map(file => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      throw new Florence2Error(`Cannot read the certificate file ${file}: ${(error as Error).message}`, {
        code: 'SETUP',
        cause: error,
      });
    }
  });
}
