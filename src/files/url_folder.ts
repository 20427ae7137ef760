import { Florence2Error } from '../errors.ts';
import type { ByteSource, Folder } from './folder.ts';
import { readBody } from './network.ts';

/** Most bytes of a file that is read as a whole. */
const MOST_BYTES = 2 ** 30;

/** Files below a base URL, read with fetch. Cannot be written. */
export class UrlFolder implements Folder {
  constructor(readonly path: string) {}

  pathOf(name: string): string {
    return `${this.path.replace(/\/+$/, '')}/${name}`;
  }

  /** A URL has no listing: every base URL counts as existing, and missing files are reported one by one. */
  async exists(): Promise<boolean> {
    return true;
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    const response = await request(this.pathOf(name));
    return response && (await readBody(response, this.pathOf(name), MOST_BYTES));
  }

  /** Opens a file for range requests. @throws Florence2Error if the server does not support them */
  async open(name: string): Promise<ByteSource | undefined> {
    const path = this.pathOf(name);
    const response = await request(path, { headers: { range: 'bytes=0-0' } });
    if (!response) return undefined;
    const size = Number(response.headers.get('content-range')?.match(/\/(\d+)$/)?.[1]);
    await response.body?.cancel();
    if (response.status !== 206 || !Number.isSafeInteger(size)) {
      throw new Florence2Error(`${path} cannot be read in parts: its server does not support range requests.`, {
        code: 'NETWORK',
      });
    }
    return new UrlSource(path, size);
  }

  write(name: string): Promise<never> {
    return Promise.reject(
      new Florence2Error(`${this.pathOf(name)} cannot be written: it is a URL.`, { code: 'FILE_NOT_WRITABLE' }),
    );
  }

  writeAll(): Promise<never> {
    return Promise.reject(
      new Florence2Error(`${this.path} cannot be written: it is a URL.`, { code: 'FILE_NOT_WRITABLE' }),
    );
  }
}

class UrlSource implements ByteSource {
  constructor(
    readonly path: string,
    readonly size: number,
  ) {}

  async read(target: Uint8Array, position: number, what: string): Promise<void> {
    if (target.length === 0) return;
    if (position + target.length > this.size) {
      throw new Florence2Error(`${this.path} ends at byte ${this.size}, within ${what}.`);
    }
    const range = `bytes=${position}-${position + target.length - 1}`;
    const response = await request(this.path, { headers: { range } });
    const bytes = response && (await readBody(response, this.path, target.length));
    if (bytes?.length !== target.length) {
      throw new Florence2Error(
        `${this.path}: the server returned ${bytes?.length ?? 0} bytes for ${range} (${what}).`,
        { code: 'NETWORK' },
      );
    }
    target.set(bytes);
  }

  async close(): Promise<void> {}
}

/** Fetches a URL; undefined for 404. @throws Florence2Error with the URL and the reason */
async function request(url: string, init?: RequestInit): Promise<Response | undefined> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    throw new Florence2Error(`${url} cannot be read: ${(error as Error).message}.`, { code: 'NETWORK', cause: error });
  }
  if (response.ok) return response;
  await response.body?.cancel();
  if (response.status === 404) return undefined;
  throw new Florence2Error(`${url} cannot be read: the server answered ${response.status} ${response.statusText}.`, {
    code: 'NETWORK',
  });
}
