import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A local web server that acts as a package index or npm registry. */
export class LocalIndex {
  /** All requests as `METHOD path`, followed by the range if one was requested. */
  readonly requests: string[] = [];
  readonly headers: IncomingMessage['headers'][] = [];
  private readonly routes = new Map<string, Handler>();
  private constructor(private readonly server: Server) {
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.requests.push([`${request.method} ${request.url}`, request.headers.range].filter(Boolean).join(' '));
      this.headers.push(request.headers);
      const handler = this.routes.get(request.url!);
      if (handler) handler(request, response);
      else response.writeHead(404).end();
    });
  }

  static async start(): Promise<LocalIndex> {
    const server = createServer();
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    return new LocalIndex(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  on(path: string, handler: Handler): void {
    this.routes.set(path, handler);
  }

  /** Serves a page. */
  page(path: string, text: string, type = 'text/html'): void {
    this.on(path, (_, response) => response.writeHead(200, { 'content-type': type }).end(text));
  }

  /** Serves a file, with range requests. The connection of the first `cuts` responses is cut halfway. */
  file(path: string, body: Buffer, cuts = 0): void {
    this.on(path, (request, response) => {
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      if (start >= body.length && start > 0) return response.writeHead(416).end();
      const rest = body.subarray(start);
      const range = { 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` };
      response.writeHead(start > 0 ? 206 : 200, { 'content-length': rest.length, ...(start > 0 && range) });
      if (cuts-- > 0)
        response.write(rest.subarray(0, rest.length >> 1), () => setTimeout(() => response.destroy(), 20));
      else response.end(rest);
      return response;
    });
  }

  /** Serves a project's JSON page (PEP 691) and its files. */
  project(
    name: string,
    files: { file: string; body: Buffer; sha256?: string; yanked?: string; cuts?: number }[],
  ): void {
    const entries = files.map(({ file, body, sha256 = hashOf(body), yanked = false, cuts }) => {
      this.file(`/files/${file}`, body, cuts);
      return { filename: file, url: `../../files/${file}`, hashes: { sha256 }, size: body.length, yanked };
    });
    this.page(`/simple/${name}/`, JSON.stringify({ name, files: entries }), 'application/vnd.pypi.simple.v1+json');
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise(resolve => this.server.close(resolve));
  }
}

export const hashOf = (body: Buffer, algorithm = 'sha256') => createHash(algorithm).update(body).digest('hex');
