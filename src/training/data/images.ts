import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { Florence2Error } from '../../errors.ts';

/** The images that an annotation file names, relative to a folder. Absolute paths, `..` and URLs are taken as well. */
export class ImageFolder {
  private readonly seen = new Map<string, boolean>();

  constructor(readonly folder: string) {}

  /** Where the image is. Throws a Florence2Error that says where it was looked for when it is not there. */
  find(name: string): string {
    if (/^(https?|data|file):/i.test(name)) return name;
    const path = isAbsolute(name) ? name : join(this.folder, name);
    if (!this.seen.has(path)) this.seen.set(path, existsSync(path));
    if (this.seen.get(path)) return path;
    throw new Florence2Error(`The image ${name} does not exist: looked for ${path}.`);
  }
}
