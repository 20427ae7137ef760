import { type FileHandle, open, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Florence2Error } from '../errors.ts';
import { errorAt, fileError, isAbsent } from './errors.ts';
import type { ByteSource, FileContent, Folder } from './folder.ts';
import { readWholeFile, requireFile } from './whole_file.ts';
import { flush, LARGEST_CHUNK, unfinishedPath, writeWhole } from './write.ts';

/** A directory on disk. */
export class DiskFolder implements Folder {
  constructor(readonly path: string) {}

  pathOf(name: string): string {
    return join(this.path, name);
  }

  async exists(): Promise<boolean> {
    return (await stat(this.path).catch(() => undefined))?.isDirectory() ?? false;
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      return await readWholeFile(this.pathOf(name));
    } catch (error) {
      if (error instanceof Florence2Error && error.code === 'FILE_NOT_FOUND') return undefined;
      throw error;
    }
  }

  open(name: string): Promise<ByteSource | undefined> {
    return openIfPresent(this.pathOf(name));
  }

  write(name: string, content: FileContent): Promise<void> {
    return writeWhole(this.pathOf(name), content);
  }

  async writeAll(files: ReadonlyMap<string, FileContent>): Promise<void> {
    const target = resolve(this.path);
    const unfinished = unfinishedPath(target);
    try {
      for (const [name, content] of files) await writeWhole(join(unfinished, name), content);
      if (!(await stat(target).catch(() => undefined))) {
        await rename(unfinished, target);
        return await flush(dirname(target));
      }
      for (const name of files.keys()) await rename(join(unfinished, name), join(target, name));
      await flush(target);
      await rmdir(unfinished);
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true }).catch(() => undefined); // the first error is reported
      throw errorAt(this.path, unfinished, error);
    }
  }
}

/** Opens a file for positioned reads. @throws Florence2Error if it does not exist or cannot be read */
export async function openFile(path: string): Promise<ByteSource> {
  const source = await openIfPresent(path);
  if (!source) throw new Florence2Error(`${path} does not exist.`, { code: 'FILE_NOT_FOUND' });
  return source;
}

/** Opens a file for positioned reads; undefined if it does not exist. @throws Florence2Error if it cannot be read */
async function openIfPresent(path: string): Promise<ByteSource | undefined> {
  let handle: FileHandle | undefined;
  try {
    await requireFile(path);
    handle = await open(path, 'r');
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Florence2Error(`${path} is not a file.`, { code: 'FILE_NOT_READABLE' });
    const source = new FileSource(path, stat.size, handle);
    await refusePointer(source);
    return source;
  } catch (error) {
    await handle?.close();
    if (isAbsent(error)) return undefined;
    throw fileError(path, error);
  }
}

/** A clone without Git LFS has small text files in place of the weights. */
async function refusePointer(source: ByteSource): Promise<void> {
  const first = new Uint8Array(Math.min(source.size, 23));
  await source.read(first, 0, 'its first bytes');
  if (new TextDecoder().decode(first) === 'version https://git-lfs') {
    throw new Florence2Error(`${source.path} is a Git LFS pointer: run git lfs pull to get the file.`);
  }
}

class FileSource implements ByteSource {
  readonly isFile = true;

  constructor(
    readonly path: string,
    readonly size: number,
    private readonly handle: FileHandle,
  ) {}

  async read(target: Uint8Array, position: number, what: string): Promise<void> {
    let done = 0;
    while (done < target.length) {
      const length = Math.min(target.length - done, LARGEST_CHUNK);
      const { bytesRead } = await this.handle.read(target, done, length, position + done).catch(error => {
        throw fileError(this.path, error);
      });
      if (bytesRead === 0) throw new Florence2Error(`${this.path} ends at byte ${position + done}, within ${what}.`);
      done += bytesRead;
    }
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}
