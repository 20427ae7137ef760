import yauzl from 'yauzl';
import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../files/folder.ts';
import { isNode } from '../platform/node.ts';

/** Position and size of an entry's bytes in an archive. */
export interface StoredEntry {
  readonly position: number;
  readonly size: number;
}

/**
 * Returns the files of a zip archive on disk whose entries are stored without compression, so that they can be read at
 * their position.
 *
 * @throws Florence2Error for a damaged archive, compressed or encrypted entries, two entries with the same name, and in
 *   browsers
 */
export async function storedEntries(source: ByteSource): Promise<Map<string, StoredEntry>> {
  if (!isNode) throw new Florence2Error(`${source.path} is in PyTorch's format, which needs Node: use safetensors.`);
  const stored = new Map<string, StoredEntry>();
  for (const entry of await centralDirectory(source.path)) {
    const name = entry.fileName;
    const fail = (problem: string): never => {
      throw new Florence2Error(`${source.path}: the archive's entry ${name} ${problem}.`);
    };
    if (entry.compressionMethod !== 0) fail('is compressed; torch.save writes uncompressed entries');
    if (entry.isEncrypted()) fail('is encrypted');
    if (stored.has(name)) fail('appears twice');
    const position = await dataPosition(source, entry, fail);
    if (position + entry.uncompressedSize > source.size) fail("goes beyond the file's end");
    stored.set(name, { position, size: entry.uncompressedSize });
  }
  return stored;
}

function centralDirectory(path: string): Promise<yauzl.Entry[]> {
  return new Promise((resolve, reject) => {
    const fail = ({ message }: Error) => reject(new Florence2Error(`${path} is a damaged zip archive: ${message}`));
    yauzl.open(path, { lazyEntries: false, strictFileNames: true }, (error, zip) => {
      if (error) return fail(error);
      const entries: yauzl.Entry[] = [];
      zip.on('entry', entry => entries.push(entry));
      zip.on('error', fail);
      zip.on('end', () => resolve(entries));
    });
  });
}

/** Returns where an entry's data begin: after its local header, of which only the length is needed. */
async function dataPosition(source: ByteSource, entry: yauzl.Entry, fail: (problem: string) => never): Promise<number> {
  const header = new DataView(new ArrayBuffer(30));
  const at = entry.relativeOffsetOfLocalHeader;
  await source.read(new Uint8Array(header.buffer), at, `the archive's entry ${entry.fileName}`);
  if (header.getUint32(0, true) !== 0x04034b50) fail('has no local header');
  return at + 30 + header.getUint16(26, true) + header.getUint16(28, true);
}
