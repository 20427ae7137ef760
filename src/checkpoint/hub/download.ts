import type { Hash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { writeError } from '../../files/errors.ts';
import { pause } from '../../files/network.ts';
import { makeFolder, removeAbandoned, UnfinishedFile } from '../../files/write.ts';
import { type HubClient, HubError, type HubFile } from './client.ts';
import { contentHash } from './content.ts';

/** Number of consecutive tries without progress after which a download fails. */
const FRUITLESS_TRIES = 5;

/**
 * Downloads a file of a repository. After a lost connection the download resumes at the same byte, or from the
 * beginning if the server does not support that. The file appears under its name once its size and hash are correct.
 * Otherwise nothing is left of it.
 *
 * @param path where to write the file
 * @param onBytes called with the number of bytes downloaded so far
 * @throws HubError if the download fails, Florence2Error if the file cannot be written, the reason of an aborted signal
 */
export async function downloadFile(
  client: HubClient,
  commit: string,
  file: HubFile,
  path: string,
  onBytes: (loaded: number) => void,
): Promise<void> {
  let part: Part | undefined;
  try {
    await makeFolder(dirname(path));
    await removeAbandoned(dirname(path), basename(path));
    part = new Part(await UnfinishedFile.create(path), file);
    await fetchWhole(client, commit, part, onBytes);
    part.check(client.id);
    await part.content.finish();
  } catch (error) {
    await part?.content.abandon();
    throw writeError(path, error);
  }
}

async function fetchWhole(client: HubClient, commit: string, part: Part, onBytes: (n: number) => void): Promise<void> {
  const { file } = part;
  let fruitless = 0;
  let furthest = 0;
  for (;;) {
    try {
      for await (const chunk of await client.read(commit, file.path, part.loaded)) {
        part.checkRoom(client.id, chunk.length);
        await part.append(chunk);
        onBytes(part.loaded);
      }
      if (part.loaded >= file.size) return;
      throw new HubError(`${file.path} of ${client.id} ended after ${part.loaded} of ${file.size} bytes.`, {
        transient: true,
      });
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      const notResumable = part.loaded > 0 && error.status === 416;
      if (!error.transient && !notResumable) throw error;
      fruitless = part.loaded > furthest ? 0 : fruitless + 1;
      if (fruitless === FRUITLESS_TRIES) throw error;
      furthest = Math.max(furthest, part.loaded);
      if (notResumable) await part.restart();
      await pause(Math.max(error.retryAfter, client.access.retryDelay * 2 ** fruitless), client.access.signal);
    }
  }
}

/** An unfinished download and the hash of its content so far. */
class Part {
  private hash?: Hash;

  constructor(
    readonly content: UnfinishedFile,
    readonly file: HubFile,
  ) {
    this.hash = contentHash(file.etag, file.size);
  }

  get loaded(): number {
    return this.content.size;
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.content.append(chunk);
    this.hash?.update(chunk);
  }

  async restart(): Promise<void> {
    await this.content.restart();
    this.hash = contentHash(this.file.etag, this.file.size);
  }

  /** @throws HubError if the next chunk makes the file longer than the hub's list says: it must not fill the disk */
  checkRoom(id: string, bytes: number): void {
    const { path, size } = this.file;
    if (this.loaded + bytes > size)
      throw new HubError(`${path} of ${id} is longer than the ${size} bytes of its list.`);
  }

  /** @throws HubError unless the content has the hash that the hub lists */
  check(id: string): void {
    const { path, etag } = this.file;
    const hex = this.hash?.digest('hex') ?? etag;
    if (hex !== etag) {
      throw new HubError(`${path} of ${id} was damaged during the download: its hash is ${hex}, expected ${etag}.`);
    }
  }
}
