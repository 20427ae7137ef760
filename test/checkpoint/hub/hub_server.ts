import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A server in place of the Hugging Face hub with one repository. It answers requests for a revision's commit, its list
 * of files, and their contents as the hub does.
 */
export class HubServer {
  readonly requests: string[] = [];
  readonly tokens = new Set<string | undefined>();
  readonly repo = 'owner/florence-tiny';
  /** Branch or tag -> commit. */
  revisions: Record<string, string> = { main: 'a'.repeat(40) };
  /** Files in Git LFS, which have a SHA-256. */
  lfs = (path: string) => path.endsWith('.safetensors') || path.endsWith('.bin');
  /** Required token (`Authorization: Bearer …`); undefined for a public repository. */
  token?: string;
  gated = false;
  /** Closes the connection of this many downloads of the named file after `at` bytes. */
  cut?: { path: string; times: number; at: number };
  /** Whether range requests are supported. */
  ranges = true;
  /** Answers this many requests with this status. */
  busy: { status: number; times: number; headers?: Record<string, string> } = { status: 503, times: 0 };
  /** Answers a request in another way, if it returns true. */
  instead: (url: string, response: ServerResponse) => boolean = () => false;
  /** Changes the content of the file `damagedPath` that is sent. */
  damaged = (bytes: Uint8Array): Uint8Array => bytes;
  damagedPath?: string;
  /** Files that are listed but do not exist. */
  lost?: string;
  private server?: Server;

  constructor(public files: Record<string, Uint8Array>) {}

  async start(): Promise<string> {
    this.server = createServer((request, response) => this.answer(request, response));
    await new Promise<void>(done => this.server!.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise(done => this.server?.close(done));
  }

  private answer(request: IncomingMessage, response: ServerResponse): ServerResponse {
    const url = decodeURIComponent(new URL(request.url!, 'http://hub').pathname);
    this.requests.push(url);
    this.tokens.add(request.headers.authorization);
    if (this.instead(url, response)) return response;
    if (this.busy.times > 0) {
      this.busy.times--;
      return fail(response, this.busy.status, 'Busy', undefined, this.busy.headers);
    }
    const [, info, tree, file] = this.routes(url);
    if (!info && !tree && !file) return fail(response, this.token ? 404 : 401, 'Repository not found', 'RepoNotFound');
    if (this.token && request.headers.authorization !== `Bearer ${this.token}`) {
      return fail(response, 401, 'Invalid username or password.');
    }
    if (this.gated) return fail(response, 403, `Access to model ${this.repo} is restricted.`, 'GatedRepo');
    const [revision, path = ''] = (info ?? tree ?? file)!;
    const commit = revision === 'HEAD' ? this.revisions.main : (this.revisions[revision] ?? revision);
    if (!Object.values(this.revisions).includes(commit))
      return fail(response, 404, `Invalid rev id: ${revision}`, 'RevisionNotFound');
    if (info) return json(response, { _id: '1', id: this.repo, sha: commit, lastModified: '2024-06-15T00:00:00.000Z' });
    if (tree) {
      const entries = this.tree(path === '' ? '' : `${path}/`);
      return entries.length > 1 ? json(response, entries) : fail(response, 404, 'No such folder', 'EntryNotFound');
    }
    if (!(path in this.files) || path === this.lost) return fail(response, 404, 'Entry not found', 'EntryNotFound');
    return this.send(path, request, response);
  }

  private routes(url: string): (string[] | undefined)[] {
    const match = (pattern: string) => url.match(new RegExp(`^${pattern}$`))?.slice(1);
    return [
      undefined,
      match(`/api/models/${this.repo}/revision/(.+)`),
      match(`/api/models/${this.repo}/tree/([^/]+)(?:/(.+))?`),
      match(`/${this.repo}/resolve/([^/]+)/(.+)`),
    ];
  }

  /** Lists the files whose path is `folder` and a name. */
  private tree(folder: string): unknown[] {
    const names = Object.entries(this.files).filter(([path]) => path.startsWith(folder));
    const direct = names.filter(([path]) => !path.slice(folder.length).includes('/'));
    const files = direct.map(([path, bytes]) => {
      const lfs = this.lfs(path) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {};
      return { type: 'file', path, size: bytes.length, oid: gitSha1(bytes), ...lfs };
    });
    return [{ type: 'directory', path: 'onnx', size: 0, oid: 'd'.repeat(40) }, ...files];
  }

  private send(path: string, request: IncomingMessage, response: ServerResponse): ServerResponse {
    const all = path === this.damagedPath ? this.damaged(this.files[path]) : this.files[path];
    const start = this.ranges ? Number(request.headers.range?.match(/^bytes=(\d+)-/)?.[1] ?? 0) : 0;
    const body = all.subarray(start);
    const range = start > 0 ? { 'content-range': `bytes ${start}-${all.length - 1}/${all.length}` } : {};
    response.writeHead(start > 0 ? 206 : 200, { 'content-length': body.length, ...range });
    if (this.cut?.path === path && this.cut.times > 0) {
      this.cut.times--;
      response.write(body.subarray(0, this.cut.at), () => setTimeout(() => response.destroy(), 5));
      return response;
    }
    return response.end(body);
  }
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
export const gitSha1 = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

function json(response: ServerResponse, value: unknown): ServerResponse {
  return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function fail(
  response: ServerResponse,
  status: number,
  error: string,
  code?: string,
  more?: Record<string, string>,
): ServerResponse {
  const headers = { 'content-type': 'application/json', ...(code && { 'x-error-code': code }), ...more };
  return response.writeHead(status, headers).end(JSON.stringify({ error }));
}
