import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openFile } from '../../src/files/disk_folder.ts';
import { type StoredEntry, storedEntries } from '../../src/weights/zip.ts';
import { refuses, temporaryFolder } from './temporary.ts';
import { zip } from './torch_file.ts';

const folder = temporaryFolder();

/** Calls `storedEntries` on an archive with these bytes. */
async function entriesOf(bytes: Uint8Array): Promise<Map<string, StoredEntry>> {
  const path = join(folder, 'model.bin');
  writeFileSync(path, bytes);
  const source = await openFile(path);
  try {
    return await storedEntries(source);
  } finally {
    await source.close();
  }
}

const files: [name: string, bytes: Uint8Array][] = [
  ['m/data.pkl', Buffer.from('pickle')],
  ['m/data/0', Buffer.from('values')],
];

/** Converts an archive to Zip64: sizes, positions and counts move to the fields for archives beyond 4 GiB. */
function zip64(bytes: Uint8Array): Buffer {
  const end = Buffer.from(bytes.subarray(-22));
  const start = end.readUInt32LE(16);
  const directory: Buffer[] = [];
  for (let at = start; at < bytes.length - 22; ) {
    const entry = Buffer.from(bytes.subarray(at, at + 46 + Buffer.from(bytes).readUInt16LE(at + 28)));
    at += entry.length;
    const extra = Buffer.alloc(9 + 28);
    extra.writeUInt16LE(0x5455, 0); // another extra field comes first
    extra.writeUInt16LE(5, 2);
    extra.writeUInt16LE(1, 9);
    extra.writeUInt16LE(24, 11);
    for (const [i, field] of [24, 20, 42].entries()) {
      extra.writeBigUInt64LE(BigInt(entry.readUInt32LE(field)), 13 + 8 * i);
      entry.writeUInt32LE(0xffffffff, field);
    }
    entry.writeUInt16LE(extra.length, 30);
    directory.push(entry, extra);
  }
  const size = Buffer.concat(directory).length;
  const record = Buffer.alloc(56);
  record.write('PK\x06\x06', 'latin1');
  record.writeBigUInt64LE(BigInt(end.readUInt16LE(10)), 32);
  record.writeBigUInt64LE(BigInt(size), 40);
  record.writeBigUInt64LE(BigInt(start), 48);
  const locator = Buffer.alloc(20);
  locator.write('PK\x06\x07', 'latin1');
  locator.writeBigUInt64LE(BigInt(start + size), 8);
  end.fill(0xff, 8, 20);
  return Buffer.concat([bytes.subarray(0, start), ...directory, record, locator, end]);
}

test('finds the bytes of each entry, also in Zip64 archives', async () => {
  const plain = zip(files);
  const commented = Buffer.concat([plain, Buffer.from('PK!')]);
  commented.writeUInt16LE(3, plain.length - 2);
  for (const bytes of [plain, commented, zip64(plain)]) {
    const entries = await entriesOf(bytes);
    assert.equal([...entries.keys()], ['m/data.pkl', 'm/data/0']);
    for (const [name, content] of files) {
      const { position, size } = entries.get(name)!;
      assert.is(Buffer.from(bytes).toString('utf8', position, position + size), Buffer.from(content).toString());
    }
  }
});

test('refuses damaged archives', async () => {
  const plain = zip(files);
  const far = Buffer.from(plain);
  far.writeUInt32LE(1e6, far.length - 6);
  const cases: [what: string, bytes: Uint8Array][] = [
    ['nothing', new Uint8Array(0)],
    ['no end', plain.subarray(0, -1)],
    ['a directory beyond the end', far],
  ];
  for (const [what, bytes] of cases) await refuses(what, () => entriesOf(bytes), 'model.bin', /damaged zip archive/);
});

test.run();
