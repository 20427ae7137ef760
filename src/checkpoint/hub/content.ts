import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { openFolder } from '../../platform/node.ts';
import { openTensors } from '../../weights/checkpoint.ts';

/**
 * Starts the hash that names a blob in the cache: SHA-256 of files in Git LFS, Git's hash of other files. Undefined for
 * names that are not a hash.
 */
export function contentHash(etag: string, size: number): Hash | undefined {
  if (/^[0-9a-f]{64}$/.test(etag)) return createHash('sha256');
  return /^[0-9a-f]{40}$/.test(etag) ? createHash('sha1').update(`blob ${size}\0`) : undefined;
}

/** Whether a file exists with this size and this hash, if `etag` is one. */
export async function hasContent(path: string, etag: string, size: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || found.size !== size) return false;
  const hash = contentHash(etag, size);
  if (!hash) return true;
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex') === etag;
}

export type FileState = 'absent' | 'damaged' | 'sound';

/**
 * Returns whether a file of a snapshot is as it was downloaded. Small files are compared with the hash that names their
 * blob. Of weights only the header is read, which says how long the file must be.
 *
 * @param isWeights whether the file contains tensors
 */
export async function fileState(folder: string, name: string, isWeights: boolean): Promise<FileState> {
  const path = join(folder, name);
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile()) return 'absent';
  const sound = isWeights ? await hasHeader(folder, name) : await matchesBlob(path, found.size);
  return sound ? 'sound' : 'damaged';
}

async function hasHeader(folder: string, name: string): Promise<boolean> {
  const file = await openTensors(openFolder(folder), name).catch(() => undefined);
  await file?.close();
  return file !== undefined;
}

async function matchesBlob(path: string, size: number): Promise<boolean> {
  const blob = await realpath(path);
  return blob === path || (await hasContent(blob, basename(blob), size));
}
