import { Florence2Error } from '../errors.ts';
import type { ByteSource } from '../files/folder.ts';

/** Position and size of an entry's bytes in an archive. */
export interface StoredEntry {
  readonly position: number;
  readonly size: number;
}

/**
 * Returns the files of a zip archive whose entries are stored without compression, so that they can be read at their
 * position. (Format: PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3 for archives beyond 4 GiB.)
 *
 * @throws Florence2Error for a damaged archive, compressed or encrypted entries, and two entries with the same name
 */
export async function storedEntries(source: ByteSource): Promise<Map<string, StoredEntry>> {
  const stored = new Map<string, StoredEntry>();
  for (const { name, flags, method, size, header } of await centralDirectory(source)) {
    const fail = (problem: string): never => {
      throw new Florence2Error(`${source.path}: the archive's entry ${name} ${problem}.`);
    };
    if (method !== 0) fail('is compressed; torch.save writes uncompressed entries');
    if (flags & 1) fail('is encrypted');
    if (stored.has(name)) fail('appears twice');
    const position = await dataPosition(source, header, name, fail);
    if (position + size > source.size) fail("goes beyond the file's end");
    stored.set(name, { position, size });
  }
  return stored;
}

interface Entry {
  name: string;
  flags: number;
  method: number;
  size: number;
  /** Position of the local header. */
  header: number;
}

const damaged = ({ path }: ByteSource, problem: string): Florence2Error =>
  new Florence2Error(`${path} is a damaged zip archive: ${problem}.`);

async function centralDirectory(source: ByteSource): Promise<Entry[]> {
  const { count, size, position } = await directoryPlace(source);
  if (position + size > source.size) throw damaged(source, 'its directory goes beyond the end of the file');
  const directory = await readView(source, position, size);
  const entries: Entry[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > size || directory.getUint32(at, true) !== 0x02014b50) {
      throw damaged(source, `its directory has no entry ${i + 1} of ${count}`);
    }
    const nameEnd = at + 46 + directory.getUint16(at + 28, true);
    const end = nameEnd + directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true);
    if (end > size) throw damaged(source, `entry ${i + 1} of its directory is cut short`);
    const name = new TextDecoder().decode(new Uint8Array(directory.buffer, at + 46, nameEnd - at - 46));
    const flags = directory.getUint16(at + 8, true);
    const method = directory.getUint16(at + 10, true);
    entries.push({ name, flags, method, ...sizeAndHeader(source, directory, at, nameEnd) });
    at = end;
  }
  return entries;
}

const inExtraField = 0xffffffff;

/** Sizes and positions beyond 4 GiB are in an extra field (Zip64), in a fixed order, each only if it is needed. */
function sizeAndHeader(
  source: ByteSource,
  directory: DataView,
  at: number,
  extra: number,
): Pick<Entry, 'size' | 'header'> {
  const [packed, size, header] = [at + 20, at + 24, at + 42].map(field => directory.getUint32(field, true));
  const end = extra + directory.getUint16(at + 30, true);
  let field = extra;
  while (field + 4 <= end && directory.getUint16(field, true) !== 1) field += 4 + directory.getUint16(field + 2, true);
  let next = field + 4;
  const value = (short: number): number => {
    if (short !== inExtraField) return short;
    if (next + 8 > end) throw damaged(source, 'an entry of its directory lacks its size or position');
    next += 8;
    return Number(directory.getBigUint64(next - 8, true));
  };
  const whole = value(size);
  value(packed);
  return { size: whole, header: value(header) };
}

interface DirectoryPlace {
  count: number;
  size: number;
  position: number;
}

/** Finds the directory by the last record of the archive, after which only a comment of at most 64 KiB may follow. */
async function directoryPlace(source: ByteSource): Promise<DirectoryPlace> {
  const length = Math.min(source.size, 22 + 0xffff);
  const start = source.size - length;
  const tail = await readView(source, start, length);
  let at = length - 22;
  const isRecord = () => tail.getUint32(at, true) === 0x06054b50 && at + 22 + tail.getUint16(at + 20, true) === length;
  while (at >= 0 && !isRecord()) at--;
  if (at < 0) throw damaged(source, 'its end is missing');
  const [count, size, position] = [
    tail.getUint16(at + 10, true),
    tail.getUint32(at + 12, true),
    tail.getUint32(at + 16, true),
  ];
  if (count !== 0xffff && size !== inExtraField && position !== inExtraField) return { count, size, position };
  return largeDirectoryPlace(source, start + at);
}

/** Finds the directory of an archive beyond 4 GiB (Zip64): a locator before the last record points to a larger one. */
async function largeDirectoryPlace(source: ByteSource, end: number): Promise<DirectoryPlace> {
  const locator = end >= 20 ? await readView(source, end - 20, 20) : undefined;
  if (locator?.getUint32(0, true) !== 0x07064b50) throw damaged(source, 'its Zip64 locator is missing');
  const position = Number(locator.getBigUint64(8, true));
  const record = position + 56 <= source.size ? await readView(source, position, 56) : undefined;
  if (record?.getUint32(0, true) !== 0x06064b50) throw damaged(source, 'its Zip64 record is missing');
  const [count, size, start] = [32, 40, 48].map(field => Number(record.getBigUint64(field, true)));
  return { count, size, position: start };
}

/** Returns where an entry's data begins: after its local header, whose length varies. */
async function dataPosition(
  source: ByteSource,
  at: number,
  name: string,
  fail: (problem: string) => never,
): Promise<number> {
  const header = await readView(source, at, 30, `the archive's entry ${name}`);
  if (header.getUint32(0, true) !== 0x04034b50) fail('has no local header');
  return at + 30 + header.getUint16(26, true) + header.getUint16(28, true);
}

async function readView(
  source: ByteSource,
  position: number,
  length: number,
  what = "the archive's directory",
): Promise<DataView> {
  const bytes = new Uint8Array(length);
  await source.read(bytes, position, what);
  return new DataView(bytes.buffer);
}
