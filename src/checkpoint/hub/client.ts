import type { listFiles, modelInfo } from '@huggingface/hub';
import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';
import { causeOf, isTransientStatus, NetworkError, withRetries } from '../../files/network.ts';

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
export class HubError extends NetworkError {
  /** HTTP status of the response; undefined without a response. */
  readonly status?: number;
  /** Whether the hub could not be reached. */
  readonly unreachable: boolean;

  constructor(message: string, { status, transient = false, unreachable = false, cause }: Partial<HubError> = {}) {
    super(message, transient, cause);
    this.status = status;
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
    const info = await withRetries(
      () => this.hub.modelInfo({ ...this.params, name: this.id, revision, additionalFields: ['sha'] }),
      retryDelay,
    ).catch(error => this.explainMissing(error, revision));
    if (/^[0-9a-f]{40}$/.test(info.sha)) return info.sha;
    throw new HubError(`${endpoint} returned no commit for the revision ${revision} of ${this.id}.`);
  }

  /** Lists the files in the repository's top folder. */
  async files(commit: string): Promise<HubFile[]> {
    return withRetries(async () => {
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
    }, this.access.retryDelay);
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
      throw new HubError(`${new URL(url).origin} cannot be reached: ${causeOf(error)}.`, {
        cause: error,
        unreachable: true,
        transient: !/ENOTFOUND|ECONNREFUSED|CERT|EAI_AGAIN/.test(causeOf(error)),
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
    return new HubError(`${url} answered ${status}${detail}.`, { status, transient: isTransientStatus(status) });
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
    throw new HubError(`The connection to ${new URL(url).origin} was cut: ${causeOf(error)}.`, {
      transient: true,
      cause: error,
    });
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
