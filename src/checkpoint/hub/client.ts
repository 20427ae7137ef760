import { setTimeout as sleep } from 'node:timers/promises';
import type { listFiles, modelInfo } from '@huggingface/hub';
import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';
import { Florence2Error } from '../../errors.ts';

export interface HubFile {
  readonly path: string;
  readonly size: number;
  /** Names the content: what the cache calls the blob. */
  readonly etag: string;
  /** Of files in Git LFS, which weights are. */
  readonly sha256?: string;
}

/** What went wrong between us and the hub. `passing`: another try may help; `unreachable`: no answer at all. */
export class HubError extends Florence2Error {
  readonly status?: number;
  readonly passing: boolean;
  readonly unreachable: boolean;

  constructor(message: string, { status, passing = false, unreachable = false }: Partial<HubError> = {}) {
    super(message);
    this.status = status;
    this.passing = passing;
    this.unreachable = unreachable;
  }
}

export interface HubAccess {
  readonly endpoint: string;
  readonly token?: string;
  /** First pause between tries, in milliseconds; it doubles each time. */
  readonly retryDelay: number;
}

const tries = 5;

/** Calls `attempt` again after errors that may pass. */
export async function withRetries<T>(retryDelay: number, attempt: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n++) {
    try {
      return await attempt();
    } catch (error) {
      if (n === tries || !(error instanceof HubError && error.passing)) throw error;
      await sleep(retryDelay * 2 ** (n - 1));
    }
  }
}

/** One model repository of a hub. All errors are HubErrors. */
export class HubClient {
  private readonly agent = new EnvHttpProxyAgent(); // HTTP_PROXY, HTTPS_PROXY, NO_PROXY

  constructor(
    private readonly hub: { listFiles: typeof listFiles; modelInfo: typeof modelInfo },
    readonly id: string,
    readonly access: HubAccess,
  ) {}

  /** The commit that a branch or tag stands for. */
  async commitOf(revision: string): Promise<string> {
    const { endpoint, retryDelay } = this.access;
    const info = await withRetries(retryDelay, () =>
      this.hub.modelInfo({ ...this.params, name: this.id, revision, additionalFields: ['sha'] }),
    ).catch(error => this.explainMissing(error, revision));
    if (/^[0-9a-f]{40}$/.test(info.sha)) return info.sha;
    throw new HubError(`${endpoint} gives no commit for the revision ${revision} of ${this.id}.`);
  }

  /** Files at the top of the repository. */
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

  /** A file's bytes from `start` on. */
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

  /** fetch, through proxies, with a HubError for whatever is not an answer of 200 to 299. */
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

  private refusal(url: string, status: number, said: string): HubError {
    const { endpoint, token } = this.access;
    if (status === 401 || status === 403) {
      const why = token
        ? `the token in HF_TOKEN is wrong, or its account may not read ${this.id}. A gated model must be accepted on ${endpoint}/${this.id} first`
        : `${this.id} is gated or private, or does not exist. Set HF_TOKEN to a token of an account that may read it`;
      return new HubError(`${endpoint} answered ${status}${said}: ${why}.`, { status });
    }
    const passing = status >= 500 || status === 429 || status === 408;
    return new HubError(`${url} answered ${status}${said}.`, { status, passing });
  }

  /** 404 for a revision may mean that there is no such repository. */
  private async explainMissing(error: unknown, revision: string): Promise<never> {
    if (!(error instanceof HubError && error.status === 404)) throw error;
    const { endpoint } = this.access;
    const main = await this.hub.modelInfo({ ...this.params, name: this.id }).catch(() => undefined);
    throw new HubError(
      main
        ? `${endpoint}/${this.id} has no revision "${revision}".`
        : `"${this.id}" is not a folder here, and ${endpoint} has no model of this name.`,
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

/** What the hub says about a refusal, as the end of "answered 404". */
async function message(response: Response): Promise<string> {
  const text = await response.text().catch(() => '');
  let said = response.headers.get('x-error-message') ?? '';
  try {
    said = JSON.parse(text).error ?? said;
  } catch {} // a page of HTML says nothing more
  return typeof said === 'string' && said !== ''
    ? ` (${said.replace(/\s+/g, ' ').replace(/\.$/, '').slice(0, 200)})`
    : '';
}

/** fetch hides what happened in a chain of causes. */
function cause(error: unknown): string {
  let inner = error as { cause?: unknown; code?: string; message?: string; errors?: Error[] };
  while (inner.cause instanceof Error) inner = inner.cause;
  return inner.message || inner.errors?.[0]?.message || inner.code || String(error);
}
