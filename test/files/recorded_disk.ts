import { mkdirSync, writeFileSync } from 'node:fs';
import fs, { type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { withFs } from './replaced_fs.ts';

/** A file: its bytes, and those that were flushed to the disk. */
interface FileNode {
  bytes: Uint8Array;
  flushed: Uint8Array;
}

/** A folder: its names, and every list of names since the last flush, which comes first. */
interface FolderNode {
  names: Map<string, Node>;
  since: Map<string, Node>[];
}

type Node = FileNode | FolderNode;

type Write = (data: Uint8Array, offset: number, length: number, position: number) => Promise<{ bytesWritten: number }>;

const isFolder = (node: Node | undefined): node is FolderNode => node !== undefined && 'names' in node;
const newFolder = (): FolderNode => ({ names: new Map(), since: [new Map()] });

/**
 * Contents of a disk after a power cut, by path below its root. A file that was not flushed may be there, but empty.
 */
export type Remains = Map<string, Uint8Array>;

/** Puts what is left into a folder. */
export function restore(left: Remains, folder: string): void {
  for (const [path, content] of left) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
}

/**
 * Records what a program writes below a folder through node:fs/promises, and computes what a power cut could leave. A
 * file system keeps what was flushed (fsync of a file: its bytes; of a folder: its names). Of the rest it may write any
 * part: names without the bytes of their files, and the changes of one folder without those of another.
 */
export class RecordedDisk {
  private readonly root = newFolder();
  /** Called after each change of names and each flush, with its number and a description. */
  onEvent: (event: string) => void | Promise<void> = () => {};

  constructor(private readonly folder: string) {}

  /** Runs a program with recording. */
  record<T>(program: () => Promise<T>): Promise<T> {
    return withFs(this.recording({ ...fs }), program);
  }

  /** Returns what is left if the power fails now. `choose(n)` picks one of n lists of names that a folder may have. */
  afterPowerCut(choose: (lists: number) => number): Remains {
    const left: Remains = new Map();
    const visit = (folder: FolderNode, path: string): void => {
      const names = folder.since[choose(folder.since.length)];
      for (const [name, node] of names) {
        if (isFolder(node)) visit(node, join(path, name));
        else left.set(join(path, name), node.flushed);
      }
    };
    visit(this.root, '');
    return left;
  }

  private recording(real: typeof fs): Partial<typeof fs> {
    return {
      open: async (path, flags, mode) =>
        this.watch(String(path), String(flags ?? 'r'), await real.open(path, flags, mode)),
      writeFile: async (path, data, options) => {
        await real.writeFile(path, data, options);
        const place = this.place(String(path));
        if (!place) return;
        const bytes = typeof data === 'string' ? Buffer.from(data) : new Uint8Array(data as Uint8Array);
        const file = (place.in.names.get(place.name) as FileNode | undefined) ?? { bytes, flushed: new Uint8Array() };
        file.bytes = bytes;
        await this.change(place.in, names => names.set(place.name, file), `write ${path}`);
      },
      mkdir: (async (path: string, options?: { recursive?: boolean }) => {
        const made = await real.mkdir(path, options);
        await this.makeFolders(String(path));
        return made;
      }) as typeof fs.mkdir,
      rename: async (from, to) => {
        await real.rename(from, to);
        const [source, target] = [this.place(String(from)), this.place(String(to))];
        if (!source || !target) return;
        const node = source.in.names.get(source.name)!;
        if (source.in === target.in) {
          await this.change(
            source.in,
            names => names.delete(source.name) && names.set(target.name, node),
            `rename ${to}`,
          );
        } else {
          await this.change(target.in, names => names.set(target.name, node), `rename ${to}`);
          await this.change(source.in, names => names.delete(source.name), `renamed ${from}`);
        }
      },
      rm: async (path, options) => {
        await real.rm(path, options);
        const place = this.place(String(path));
        if (place?.in.names.has(place.name)) await this.remove(place.in, place.name);
      },
      rmdir: async path => {
        await real.rmdir(path);
        const place = this.place(String(path));
        if (place) await this.remove(place.in, place.name);
      },
    };
  }

  /** Removes a file or folder, what is in it first. */
  private async remove(folder: FolderNode, name: string): Promise<void> {
    const node = folder.names.get(name);
    if (isFolder(node)) for (const inside of [...node.names.keys()]) await this.remove(node, inside);
    await this.change(folder, names => names.delete(name), `remove ${name}`);
  }

  private async change(folder: FolderNode, edit: (names: Map<string, Node>) => unknown, event: string): Promise<void> {
    edit(folder.names);
    folder.since.push(new Map(folder.names));
    await this.onEvent(event);
  }

  /** Returns the folder and name of a path; undefined outside the recorded folder and where the folder does not exist. */
  private place(path: string): { in: FolderNode; name: string } | undefined {
    const below = relative(this.folder, resolve(path));
    if (below === '' || below.startsWith('..')) return undefined;
    const parents = dirname(below) === '.' ? [] : dirname(below).split(sep);
    let folder = this.root;
    for (const name of parents) {
      const next = folder.names.get(name);
      if (!isFolder(next)) return undefined;
      folder = next;
    }
    return { in: folder, name: basename(below) };
  }

  private async makeFolders(path: string): Promise<void> {
    const below = relative(this.folder, resolve(path));
    if (below.startsWith('..')) return;
    let folder = this.root;
    for (const name of below === '' ? [] : below.split(sep)) {
      if (!folder.names.has(name)) await this.change(folder, names => names.set(name, newFolder()), `mkdir ${path}`);
      folder = folder.names.get(name) as FolderNode;
    }
  }

  /** Records what is written and flushed through a handle. */
  private async watch(path: string, flags: string, handle: FileHandle): Promise<FileHandle> {
    if (resolve(path) === this.folder) return this.watchFlush(handle, this.root, path);
    const place = this.place(path);
    if (!place) return handle;
    let node = place.in.names.get(place.name);
    if (isFolder(node)) return this.watchFlush(handle, node, path);
    if (!node) {
      if (flags === 'r') return handle;
      node = { bytes: new Uint8Array(), flushed: new Uint8Array() };
      const file = node;
      await this.change(place.in, names => names.set(place.name, file), `create ${path}`);
    }
    const file = node;
    if (flags.startsWith('w')) file.bytes = new Uint8Array();
    const real = { write: handle.write as unknown as Write, appendFile: handle.appendFile, truncate: handle.truncate };
    const put = (bytes: Uint8Array, at: number) => {
      const all = new Uint8Array(Math.max(file.bytes.length, at + bytes.length));
      all.set(file.bytes);
      all.set(bytes, at);
      file.bytes = all;
    };
    handle.write = (async (data, offset, length, position) => {
      const written = await real.write.call(handle, data, offset, length, position);
      put(new Uint8Array(data.subarray(offset, offset + written.bytesWritten)), position);
      return written;
    }) satisfies Write as unknown as typeof handle.write;
    handle.appendFile = async (data, options) => {
      await real.appendFile.call(handle, data, options);
      put(typeof data === 'string' ? Buffer.from(data) : new Uint8Array(data as Uint8Array), file.bytes.length);
    };
    handle.truncate = async (length = 0) => {
      await real.truncate.call(handle, length);
      file.bytes = file.bytes.slice(0, length);
    };
    return this.watchFlush(handle, file, path);
  }

  private watchFlush(handle: FileHandle, node: Node, path: string): FileHandle {
    const sync = handle.sync;
    handle.sync = async () => {
      await sync.call(handle);
      if (isFolder(node)) node.since = [new Map(node.names)];
      else node.flushed = node.bytes;
      await this.onEvent(`flush ${path}`);
    };
    return handle;
  }
}
