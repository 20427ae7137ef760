import { createHash, type Hash } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { open, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Florence2Error } from '../../errors.ts';
import { writeError } from '../../files/errors.ts';
import { causeOf, NetworkError, withRetries } from '../../files/network.ts';
import { makeFolder } from '../../files/write.ts';
import { type Http, withoutCredentials } from './http.ts';

/** A file to download, and its expected hash. */
export interface Artifact {
  file: string;
  url: string;
  /** Absent only for local files whose hash is not published. */
  hash?: { algorithm: 'sha256' | 'sha512'; digest: string };
  size?: number;
}

export type OnBytes = (loaded: number, total: number) => void;

interface Options {
  headers?: Record<string, string>;
  onBytes?: OnBytes;
  /** Pause before the second attempt in milliseconds; it doubles with each further attempt. Default 1000. */
  retryDelay?: number;
}

/**
 * Downloads a file into `folder` and returns its path. Interrupted downloads are resumed, also by later runs. The file
 * is renamed to its final name after its hash was verified, so a file with that name is complete.
 *
 * @throws Florence2Error if the hash is wrong, the folder cannot be written, the disk is full, or the network keeps failing
 */
export async function download(http: Http, artifact: Artifact, folder: string, options: Options = {}): Promise<string> {
  const { hash, url, file } = artifact;
  if (url.startsWith('file:')) return verifyLocal(artifact, options.onBytes);
  if (!hash) throw new Error(`The hash of ${file} is unknown.`);
  await makeFolder(folder).catch(error => {
    throw writeError(folder, error);
  });
  const path = join(folder, `${hash.digest.slice(0, 16)}-${file}`);
  if (existsSync(path)) return path;
  const part = `${path}.part`;
  await withRetries(() => fill(http, artifact, part, options), options.retryDelay);
  await rename(part, path);
  return path;
}

/** Requests the missing bytes of `part` and verifies the hash of the whole file. */
async function fill(http: Http, artifact: Artifact, part: string, options: Options): Promise<void> {
  const { algorithm, digest } = artifact.hash!;
  let digester = createHash(algorithm);
  const had = await hashExisting(part, digester);
  let have = had;
  const range: Record<string, string> = have > 0 ? { range: `bytes=${have}-` } : {};
  const response = await http.get(artifact.url, { ...options.headers, ...range, 'accept-encoding': 'identity' }, [416]);
  const continued = response.status === 206 && response.headers.get('content-range')?.startsWith(`bytes ${have}-`);
  if (response.status === 416) {
    // The server has no bytes after this position: the part is complete, or wrong.
    await response.body?.cancel();
  } else {
    if (!continued) {
      have = 0;
      digester = createHash(algorithm);
    }
    const rest = Number(response.headers.get('content-length') ?? 0);
    await ensureSpace(part, rest);
    await append(response.body, part, have, digester, loaded => options.onBytes?.(loaded, have + rest || loaded));
    const size = statSync(part).size;
    if (rest > 0 && size < have + rest)
      throw new NetworkError(`The download of ${artifact.file} stopped after ${size} bytes.`, true);
  }
  const found = digester.digest('hex');
  if (found === digest) return;
  await rm(part, { force: true });
  if (had > 0)
    throw new NetworkError(`The partial download of ${artifact.file} from an earlier run was damaged.`, true);
  throw new Florence2Error(
    `${artifact.file} from ${withoutCredentials(artifact.url)} is not the published file: its ${algorithm} is ${found}, not ${digest}.`,
    { code: 'SETUP' },
  );
}

/** Adds an existing file to the hash and returns the file's length; 0 if it does not exist. */
async function hashExisting(path: string, digester: Hash): Promise<number> {
  if (!existsSync(path)) return 0;
  let length = 0;
  for await (const chunk of createReadStream(path)) {
    digester.update(chunk);
    length += chunk.length;
  }
  return length;
}

async function append(
  body: AsyncIterable<Uint8Array> | null,
  path: string,
  position: number,
  digester: Hash,
  onLoaded: (loaded: number) => void,
): Promise<void> {
  const handle = await open(path, position > 0 ? 'r+' : 'w');
  try {
    let at = position;
    for await (const chunk of guardNetwork(body ?? [], path)) {
      await handle.write(chunk, 0, chunk.length, at).catch(error => {
        throw error.code === 'ENOSPC'
          ? new Florence2Error(`The disk is full: cannot write ${path}. Free some space and run the command again.`, {
              code: 'SETUP',
              cause: error,
            })
          : error;
      });
      digester.update(chunk);
      at += chunk.length;
      onLoaded(at);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Yields the chunks. Turns a broken connection into a NetworkError that allows another attempt. */
async function* guardNetwork(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, path: string) {
  try {
    yield* body;
  } catch (error) {
    throw new NetworkError(`The download of ${path} was interrupted: ${causeOf(error)}.`, true, error);
  }
}

async function verifyLocal({ url, file, hash }: Artifact, onBytes?: OnBytes): Promise<string> {
  const path = fileURLToPath(url);
  if (hash) {
    const digester = createHash(hash.algorithm);
    await hashExisting(path, digester);
    const found = digester.digest('hex');
    if (found !== hash.digest) {
      throw new Florence2Error(
        `${file} (${path}) is not the published file: its hash is ${found}, not ${hash.digest}.`,
        { code: 'SETUP' },
      );
    }
  }
  const { size } = statSync(path);
  onBytes?.(size, size);
  return path;
}

/** @throws Florence2Error if the file system of `path` has less free space. `path` need not exist yet. */
export async function ensureSpace(path: string, bytes: number): Promise<void> {
  let folder = path;
  while (!existsSync(folder)) folder = join(folder, '..');
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (bytes <= free) return;
  const gigabytes = (count: number) => `${(count / 1e9).toFixed(1)} GB`;
  throw new Florence2Error(
    `Not enough free space on the disk of ${folder}: ${gigabytes(bytes)} required, ${gigabytes(free)} free. ` +
      'Set FLORENCE2_CACHE to use a folder on another disk.',
    { code: 'SETUP' },
  );
}
