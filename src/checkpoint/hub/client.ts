import { setTimeout as sleep } from 'node:timers/promises';
import type { listFiles, modelInfo } from '@huggingface/hub';
import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';
import { Florence2Error } from '../../errors.ts';

/** A file of a repository. */
export interface HubFile {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Hash of the content, the name of the blob in the cache. */
  readonly etag: string;
  /** Only for files in Git LFS, such as weights. */
  readonly sha256?: string;
}

/** A failed request to the hub. */
export class HubError extends Florence2Error {
  /** HTTP status of the response; undefined without a response. */
  readonly status?: number;
  /** Whether a retry may succeed. */
  readonly passing: boolean;
  /** Whether the hub could not be reached. */
  readonly unreachable: boolean;

  constructor(message: string, { status, passing = false, unreachable = false }: Partial<HubError> = {}) {
    super(message);
    this.status = status;
    this.passing = passing;
    this.unreachable = unreachable;
  }
}

/** How to reach a hub. */
export interface HubAccess {
  readonly endpoint: string;
  readonly token?: string;
  /** Pause before the first retry, in milliseconds. It doubles with each retry. */
  readonly retryDelay: number;
}

const TRIES = 5;

/** Calls `attempt` up to 5 times, until it succeeds or fails with an error that is not `passing`. */
export async function withRetries<T>(retryDelay: number, attempt: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n++) {
    try {
      return await attempt();
    } catch (error) {
      if (n === TRIES || !(error instanceof HubError && error.passing)) throw error;
      await sleep(retryDelay * 2 ** (n - 1));
    }
  }
}

/** Client for one model repository of a hub. Failed requests throw HubErrors. */
export class HubClient {
  private readonly agent = new EnvHttpProxyAgent(); // HTTP_PROXY, HTTPS_PROXY, NO_PROXY

  constructor(
    private readonly hub: { listFiles: typeof listFiles; modelInfo: typeof modelInfo },
    readonly id: string,
    readonly access: HubAccess,
  ) {}

  /** Returns the commit of a branch or tag. */
  async commitOf(revision: string): Promise<string> {
    const { endpoint, retryDelay } = this.access;
    const info = await withRetries(retryDelay, () =>
      this.hub.modelInfo({ ...this.params, name: this.id, revision, additionalFields: ['sha'] }),
    ).catch(error => this.explainMissing(error, revision));
    if (/^[0-9a-f]{40}$/.test(info.sha)) return info.sha;
    throw new HubError(`${endpoint} returned no commit for the revision ${revision} of ${this.id}.`);
  }

  /** Lists the files in the repository's top folder. */
  async files(commit: string): Promise<HubFile[]> {
    return withRetries(this.access.retryDelay, async () => {
      const files: HubFile[] = [];
      for await (const entry of this.hub.listFiles({ ...this.params, repo: this.id, revision: commit })) {
        if (entry.type !== 'file') continue;
        const { path, size, lfs, oid, xetHash } = entry;
        const etag = lfs?.oid ?? xetHash ?? oid;
        if (!etag || !/^[\w.-]+$/.test(etag)) {
          throw new HubError(`${this.access.endpoint} lists ${path} without its hash.`);
        }
        files.push({ path, size: lfs?.size ?? size, etag, sha256: lfs?.oid });
      }
      return files;
    });
  }

  /** Downloads a file from byte `start` on. */
  async read(commit: string, path: string, start: number): Promise<AsyncIterable<Uint8Array>> {
    const { endpoint, token } = this.access;
    const url = `${endpoint}/${this.id}/resolve/${commit}/${encodeURIComponent(path)}`;
    const headers = {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(start > 0 && { range: `bytes=${start}-` }),
    };
    const response = await this.fetch(url, { headers });
    if (start > 0 && response.status !== 206) {
      await response.body?.cancel();
      throw new HubError(`${url} cannot be resumed.`, { status: 416 });
    }
    return chunks(response, url);
  }

  close(): Promise<void> {
    return this.agent.close();
  }

  private get params() {
    const { endpoint, token } = this.access;
    return { hubUrl: endpoint, fetch: this.fetch, ...(token && { accessToken: token }) };
  }

  /** fetch through proxies. Throws a HubError for a status other than 200 to 299. */
  private readonly fetch: typeof fetch = async (input, init) => {
    const url = String(input);
    const request = { ...init, dispatcher: this.agent } as Parameters<typeof undiciFetch>[1];
    const response = await undiciFetch(url, request).catch(error => {
      throw new HubError(`${new URL(url).origin} cannot be reached: ${cause(error)}.`, {
        unreachable: true,
        passing: !/ENOTFOUND|ECONNREFUSED|CERT|EAI_AGAIN/.test(cause(error)),
      });
    });
    if (!response.ok) throw this.refusal(url, response.status, await message(response as unknown as Response));
    return response as unknown as Response;
  };

  private refusal(url: string, status: number, detail: string): HubError {
    const { endpoint, token } = this.access;
    if (status === 401 || status === 403) {
      const why = token
        ? `the token in HF_TOKEN is wrong, or its account may not read ${this.id}. A gated model must be accepted on ${endpoint}/${this.id} first`
        : `${this.id} is gated or private, or does not exist. Set HF_TOKEN to a token of an account that may read it`;
      return new HubError(`${endpoint} answered ${status}${detail}: ${why}.`, { status });
    }
    const passing = status >= 500 || status === 429 || status === 408;
    return new HubError(`${url} answered ${status}${detail}.`, { status, passing });
  }

  /** Turns a 404 for a revision into an error that says whether the revision or the repository is missing. */
  private async explainMissing(error: unknown, revision: string): Promise<never> {
    if (!(error instanceof HubError && error.status === 404)) throw error;
    const { endpoint } = this.access;
    const main = await this.hub.modelInfo({ ...this.params, name: this.id }).catch(() => undefined);
    throw new HubError(
      main
        ? `${endpoint}/${this.id} has no revision "${revision}".`
        : `"${this.id}" is not a folder, and ${endpoint} has no model of this name.`,
      { status: 404 },
    );
  }
}

async function* chunks(response: Response, url: string): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) yield chunk;
  } catch (error) {
    throw new HubError(`The connection to ${new URL(url).origin} was cut: ${cause(error)}.`, { passing: true });
  }
}

/** Returns the hub's error message in brackets, to follow "answered 404"; empty if it sent none. */
async function message(response: Response): Promise<string> {
  const text = await response.text().catch(() => '');
  let detail = response.headers.get('x-error-message') ?? '';
  try {
    detail = JSON.parse(text).error ?? detail;
  } catch {} // an HTML page
  return typeof detail === 'string' && detail !== ''
    ? ` (${detail.replace(/\s+/g, ' ').replace(/\.$/, '').slice(0, 200)})`
    : '';
}

/** Returns the innermost message in the chain of causes of an error of fetch. */
function cause(error: unknown): string {
  let inner = error as { cause?: unknown; code?: string; message?: string; errors?: Error[] };
  while (inner.cause instanceof Error) inner = inner.cause;
  return inner.message || inner.errors?.[0]?.message || inner.code || String(error);
}
