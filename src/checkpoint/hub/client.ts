import type { ListFileEntry, listFiles, modelInfo } from '@huggingface/hub';
import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici';
import { Florence2Error } from '../../errors.ts';
import { causeOf, isTransientStatus, NetworkError, readBody, retryAfter, withRetries } from '../../files/network.ts';
import { isCommit } from './cache.ts';

/** A file of a repository. */
export interface HubFile {
  /** Path below the folder that was listed. */
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** Hash of the content, the name of the blob in the cache. See `contentHash`. */
  readonly etag: string;
}

/** A failed request to the hub. */
export class HubError extends NetworkError {
  /** HTTP status of the response; undefined without a response. */
  readonly status?: number;
  /** Whether the hub could not be reached. */
  readonly unreachable: boolean;

  constructor(
    message: string,
    { status, transient = false, unreachable = false, retryAfter, cause }: Partial<HubError> = {},
  ) {
    super(message, transient, cause, retryAfter);
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
  /** Milliseconds without a byte from the hub after which a request fails. */
  readonly timeout: number;
  readonly signal?: AbortSignal;
}

/** Most bytes of an answer that is not a file, such as a list of files. */
const MOST_ANSWER_BYTES = 64 << 20;
/** Most files in a listed folder. */
const MOST_FILES = 100_000;
/** Longest pause that a hub may ask for, in milliseconds. */
const LONGEST_PAUSE = 60_000;

/** Client for one model repository of a hub. Failed requests throw HubErrors; an aborted signal throws its reason. */
export class HubClient {
  private readonly agent: EnvHttpProxyAgent; // HTTP_PROXY, HTTPS_PROXY, NO_PROXY

  /** @param subfolder folder of the files in the repository; '' for the top */
  constructor(
    private readonly hub: { listFiles: typeof listFiles; modelInfo: typeof modelInfo },
    readonly id: string,
    readonly subfolder: string,
    readonly access: HubAccess,
  ) {
    const { timeout } = access;
    this.agent = new EnvHttpProxyAgent({ connect: { timeout }, headersTimeout: timeout, bodyTimeout: timeout });
  }

  /** Address of the repository or its subfolder, for messages. */
  get address(): string {
    return [this.access.endpoint, this.id, ...(this.subfolder ? [this.subfolder] : [])].join('/');
  }

  /** Returns the commit of a branch or tag. */
  async commitOf(revision: string): Promise<string> {
    const read = async (): Promise<string> => {
      const { sha } = await this.hub.modelInfo({ ...this.params, name: this.id, revision, additionalFields: ['sha'] });
      if (!isCommit(sha)) throw new TypeError(`no commit for the revision ${revision}`);
      return sha;
    };
    return this.answer(read).catch(error => this.explainMissing(error, revision));
  }

  /** Lists the files in the repository's top folder, or in the subfolder. */
  async files(commit: string): Promise<HubFile[]> {
    const path = this.subfolder || undefined;
    const list = this.answer(async () => {
      const files: HubFile[] = [];
      for await (const entry of this.hub.listFiles({ ...this.params, repo: this.id, revision: commit, path })) {
        if (entry.type === 'file') files.push(hubFile(entry));
        if (files.length > MOST_FILES) throw new HubError(`${this.address} has more than ${MOST_FILES} files.`);
      }
      return files;
    });
    return list.catch(error => {
      if (this.subfolder === '' || !(error instanceof HubError && error.status === 404)) throw error;
      throw new HubError(`${this.access.endpoint}/${this.id} has no folder ${this.subfolder}.`, { status: 404 });
    });
  }

  /** Downloads a file from byte `start` on. */
  async read(commit: string, path: string, start: number): Promise<AsyncIterable<Uint8Array>> {
    const { endpoint } = this.access;
    const below = [...(this.subfolder ? this.subfolder.split('/') : []), path];
    const url = `${endpoint}/${this.id}/resolve/${commit}/${below.map(encodeURIComponent).join('/')}`;
    const response = await this.fetch(url, { headers: start > 0 ? { range: `bytes=${start}-` } : {} });
    if (start > 0 && response.status !== 206) {
      await response.body?.cancel();
      throw new HubError(`${url} cannot be resumed.`, { status: 416 });
    }
    return this.chunks(response, url);
  }

  /** Downloads a small file, to read it without keeping it. */
  async readSmall(commit: string, path: string): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of await this.read(commit, path, 0)) {
      parts.push(part);
      size += part.length;
      if (size > MOST_ANSWER_BYTES)
        throw new HubError(`${this.address}/${path} is longer than ${MOST_ANSWER_BYTES} bytes.`);
    }
    return Buffer.concat(parts);
  }

  close(): Promise<void> {
    return this.agent.destroy();
  }

  private get params() {
    return { hubUrl: this.access.endpoint, fetch: this.fetchAnswer };
  }

  /** Sends a request up to five times. An answer in another form than the hub's is a failure that may pass. */
  private answer<T>(request: () => Promise<T>): Promise<T> {
    const { endpoint, retryDelay, signal } = this.access;
    const attempt = (): Promise<T> =>
      request().catch(error => {
        if (signal?.aborted || error instanceof Florence2Error) throw error;
        throw new HubError(`${endpoint} did not answer about ${this.id} in the form of the Hugging Face hub.`, {
          transient: true,
          cause: error,
        });
      });
    return withRetries(attempt, retryDelay, signal);
  }

  /** fetch for answers of limited size, for the package of the hub. */
  private readonly fetchAnswer: typeof fetch = async (input, init) => {
    const url = String(input);
    const response = await this.fetch(url, { headers: { ...(init?.headers as Record<string, string>) } });
    const { status, headers } = response;
    const body = await readBody(response, url, MOST_ANSWER_BYTES).catch(error => this.explainCut(error, url));
    return new Response(body, { status, headers });
  };

  /** fetch through proxies. The token is sent to the hub only. Throws a HubError for a status other than 200 to 299. */
  private async fetch(url: string, { headers }: { headers: Record<string, string> }): Promise<Response> {
    const { endpoint, token, signal } = this.access;
    const { origin } = new URL(url);
    const authorization = token && origin === new URL(endpoint).origin ? { authorization: `Bearer ${token}` } : {};
    const request = { headers: { ...headers, ...authorization }, signal, dispatcher: this.agent };
    const response = (await undiciFetch(url, request).catch(error => {
      signal?.throwIfAborted();
      throw new HubError(`${origin} cannot be reached: ${causeOf(error)}.`, {
        cause: error,
        unreachable: true,
        transient: !/ENOTFOUND|ECONNREFUSED|CERT|EAI_AGAIN/.test(causeOf(error)),
      });
    })) as unknown as Response;
    if (!response.ok) throw await this.refusal(url, response);
    return response;
  }

  private async refusal(url: string, response: Response): Promise<HubError> {
    const { endpoint, token } = this.access;
    const { status, headers } = response;
    const body = await readBody(response, url, 1 << 16).catch(() => undefined);
    const detail = message(new TextDecoder().decode(body), headers);
    if (status === 401 || status === 403) {
      const why = token
        ? `the token in HF_TOKEN is wrong, or its account may not read ${this.id}. A gated model must be accepted on ${endpoint}/${this.id} first`
        : `${this.id} is gated or private, or does not exist. Set HF_TOKEN to a token of an account that may read it`;
      return new HubError(`${endpoint} answered ${status}${detail}: ${why}.`, { status });
    }
    const pause = retryAfter(headers.get('retry-after'));
    if (pause > LONGEST_PAUSE) {
      const seconds = Math.ceil(pause / 1000);
      return new HubError(`${url} answered ${status}${detail} and may be tried again in ${seconds} s.`, {
        status,
        unreachable: true,
      });
    }
    const transient = isTransientStatus(status);
    return new HubError(`${url} answered ${status}${detail}.`, { status, transient, retryAfter: pause });
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

  /** Yields the body, decompressed. Leaving the loop closes the connection. */
  private async *chunks(response: Response, url: string): AsyncIterable<Uint8Array> {
    if (!response.body) return;
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) yield chunk;
    } catch (error) {
      this.explainCut(error, url);
    }
  }

  /** Turns an error while a body is read into one that says that the connection was cut. */
  private explainCut(error: unknown, url: string): never {
    this.access.signal?.throwIfAborted();
    if (error instanceof NetworkError) throw error;
    throw new HubError(`The connection to ${new URL(url).origin} was cut: ${causeOf(error)}.`, {
      transient: true,
      cause: error,
    });
  }
}

/** @throws TypeError if the entry of a list of files is malformed */
function hubFile({ path, size, lfs, oid, xetHash }: ListFileEntry): HubFile {
  const etag = lfs?.oid ?? (xetHash ? `xet-${xetHash}` : oid);
  const bytes = lfs?.size ?? size;
  const isSound = typeof path === 'string' && Number.isSafeInteger(bytes) && bytes >= 0;
  if (!isSound || typeof etag !== 'string' || !/^(xet-)?[0-9a-f]{40,64}$/.test(etag)) {
    throw new TypeError('a file without its name, size or hash');
  }
  return { path: path.slice(path.lastIndexOf('/') + 1), size: bytes, etag };
}

/** Returns the hub's error message in brackets, to follow "answered 404"; empty if it sent none. */
function message(text: string, headers: Headers): string {
  let detail: unknown = headers.get('x-error-message');
  try {
    detail = JSON.parse(text).error ?? detail;
  } catch {} // an HTML page
  return typeof detail === 'string' && detail !== ''
    ? ` (${detail.replace(/\s+/g, ' ').replace(/\.$/, '').slice(0, 200)})`
    : '';
}
