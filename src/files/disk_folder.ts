import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ByteSource } from './byte_source.ts';
import { fileError, isAbsent } from './errors.ts';
import { openIfPresent } from './file_source.ts';
import type { FileContent, Folder } from './folder.ts';
import { writeWhole } from './write.ts';

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
      return await readFile(this.pathOf(name));
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw fileError(this.pathOf(name), error);
    }
  }

  open(name: string): Promise<ByteSource | undefined> {
    return openIfPresent(this.pathOf(name));
  }

  write(name: string, content: FileContent): Promise<void> {
    return writeWhole(this.pathOf(name), content);
  }
}
