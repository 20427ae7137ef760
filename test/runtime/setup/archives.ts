import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { temporaryFolder } from '../../weights/temporary.ts';

export interface ArchiveFile {
  name: string;
  body: string | Buffer;
  mode?: number;
  /** A wrong file size to write into the archive, in bytes. */
  claimedSize?: number;
}

/** Returns an uncompressed zip file. Checksums are 0, because the reader ignores them. */
export function makeZip(files: ArchiveFile[]): Buffer {
  const locals: Buffer[] = [];
  const entries: Buffer[] = [];
  let offset = 0;
  for (const { name, body, mode = 0o644, claimedSize } of files) {
    const content = Buffer.from(body);
    const label = Buffer.from(name);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(20, 4);
    local.writeUInt32LE(content.length, 18);
    local.writeUInt32LE(content.length, 22);
    local.writeUInt16LE(label.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50, 0);
    entry.writeUInt16LE((3 << 8) | 20, 4);
    entry.writeUInt16LE(20, 6);
    entry.writeUInt32LE(claimedSize ?? content.length, 20);
    entry.writeUInt32LE(claimedSize ?? content.length, 24);
    entry.writeUInt16LE(label.length, 28);
    entry.writeUInt32LE((mode << 16) >>> 0, 38);
    entry.writeUInt32LE(offset, 42);
    locals.push(local, label, content);
    entries.push(entry, label);
    offset += local.length + label.length + content.length;
  }
  const directory = Buffer.concat(entries);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, directory, end]);
}

/** Writes a zip file and returns its path. */
export function zipFile(files: ArchiveFile[]): string {
  const path = join(temporaryFolder(), 'x.whl');
  writeFileSync(path, makeZip(files));
  return path;
}

/** Returns a gzipped tar file. Names too long for their field go into a separate record, as npm writes them. */
export function makeTarball(files: ArchiveFile[]): Buffer {
  const blocks = files.flatMap(({ name, body }) => {
    const record = `path=${name}\n`;
    const length = record.length + 3; // two digits and a space
    const long = name.length > 99 ? tarEntry('PaxHeader', Buffer.from(`${length} ${record}`), 'x') : [];
    return [...long, ...tarEntry(name.slice(0, 99), Buffer.from(body), '0')];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

function tarEntry(name: string, body: Buffer, type: string): Buffer[] {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write(type, 156);
  header.write('ustar\x0000', 257);
  return [header, body, Buffer.alloc((512 - (body.length % 512)) % 512)];
}
