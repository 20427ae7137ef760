import { createWriteStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join, normalize, sep } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import yauzl, { type Entry, type ZipFile } from 'yauzl';
import { Florence2Error } from '../../errors.ts';
import { makeFolder } from '../../files/write.ts';
import { ensureSpace, type OnBytes } from './download.ts';

/**
 * Unpacks a wheel (a zip file). `place` returns an entry's path in `folder`, or undefined to skip the entry.
 * Returns the number of files written.
 */
export async function unzip(
  file: string,
  folder: string,
  place: (name: string) => string | undefined,
  onBytes?: OnBytes,
): Promise<number> {
  const zip = await openZip(file);
  try {
    const chosen = (await readEntries(zip)).flatMap(entry => {
      const path = entry.fileName.endsWith('/') ? undefined : place(entry.fileName);
      return path === undefined ? [] : [{ entry, path: inside(folder, path, file) }];
    });
    const total = chosen.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    await ensureSpace(folder, total);
    let done = 0;
    const count = async function* (source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        done += chunk.length;
        onBytes?.(done, total);
        yield chunk;
      }
    };
    for (const { entry, path } of chosen) {
      await makeFolder(dirname(path));
      const content = await promisify<Entry, Readable>(zip.openReadStream.bind(zip))(entry);
      // The upper 16 bits of the attributes are the Unix mode: programs stay executable.
      const mode = (entry.externalFileAttributes >>> 16) & 0o111 ? 0o755 : 0o644;
      await pipeline(content, count, createWriteStream(path, { mode }));
    }
    return chosen.length;
  } catch (error) {
    throw friendly(error, file);
  } finally {
    zip.close();
  }
}

/** Returns the text of the first entry whose name `matches`, or undefined. */
export async function readZipText(file: string, matches: (name: string) => boolean): Promise<string | undefined> {
  const zip = await openZip(file);
  try {
    const entry = (await readEntries(zip)).find(({ fileName }) => matches(fileName));
    if (!entry) return undefined;
    const content = await promisify<Entry, Readable>(zip.openReadStream.bind(zip))(entry);
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('utf8');
  } finally {
    zip.close();
  }
}

async function openZip(file: string): Promise<ZipFile> {
  try {
    return await promisify<string, yauzl.Options, ZipFile>(yauzl.open)(file, { lazyEntries: true, autoClose: false });
  } catch (error) {
    throw friendly(error, file);
  }
}

function readEntries(zip: ZipFile): Promise<Entry[]> {
  const entries: Entry[] = [];
  return new Promise((resolve, reject) => {
    zip.on('entry', (entry: Entry) => {
      entries.push(entry);
      zip.readEntry();
    });
    zip.on('end', () => resolve(entries));
    zip.on('error', reject);
    zip.readEntry();
  });
}

function friendly(error: unknown, file: string): Error {
  if (error instanceof Florence2Error) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC')
    return new Florence2Error(`The disk is full: cannot unpack ${file}. Free some space and run the command again.`, {
      code: 'SETUP',
    });
  return new Florence2Error(`Cannot unpack ${file}: ${message}`, { code: 'SETUP' });
}

/** Unpacks an npm package (a gzipped tar file) without its leading folder. */
export async function untar(gzipped: Uint8Array, folder: string, file: string): Promise<void> {
  const tar = gunzipSync(gzipped);
  const text = (from: number, length: number) => tar.toString('utf8', from, from + length).replace(/\0.*$/s, '');
  let longName: string | undefined;
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12).trim() || '0', 8);
    const type = String.fromCharCode(tar[at + 156]!);
    const content = tar.subarray(at + 512, at + 512 + size);
    const prefix = text(at + 345, 155);
    const name = longName ?? (prefix ? `${prefix}/` : '') + text(at, 100);
    longName = undefined;
    if (type === 'x') longName = /^\d+ path=(.*)$/m.exec(content.toString('utf8'))?.[1];
    else if (type === 'L') longName = content.toString('utf8').replace(/\0.*$/s, '');
    else if (type === '0' || type === '\0') {
      const path = inside(folder, name.replace(/^[^/]+\//, ''), file);
      await makeFolder(dirname(path));
      await writeFile(path, content);
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

/** Returns the path of an entry in the folder. Throws if it would be outside. */
function inside(folder: string, name: string, archive: string): string {
  const path = normalize(join(folder, name));
  if (!path.startsWith(normalize(folder) + sep))
    throw new Florence2Error(`${archive} contains a path outside its folder: ${name}`, { code: 'SETUP' });
  return path;
}
