import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ByteSource } from '../../src/files/folder.ts';
import { storedEntries } from '../../src/weights/zip.ts';
import { refuses } from './temporary.ts';
import { zip } from './torch_file.ts';

const source = (bytes: Uint8Array): ByteSource => ({
  path: 'model.bin',
  size: bytes.length,
  read: async (target, position) => target.set(bytes.subarray(position, position + target.length)),
  close: async () => {},
});

const files: [name: string, bytes: Uint8Array][] = [
  ['m/data.pkl', Buffer.from('pickle')],
  ['m/grün', Buffer.from('values')],
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
    const entries = await storedEntries(source(bytes));
    assert.equal([...entries.keys()], ['m/data.pkl', 'm/grün']);
    for (const [name, content] of files) {
      const { position, size } = entries.get(name)!;
      assert.is(Buffer.from(bytes).toString('utf8', position, position + size), Buffer.from(content).toString());
    }
  }
});

test('refuses damaged archives', async () => {
  const large = zip64(zip(files));
  const without = (from: number) => {
    const bytes = Buffer.from(large);
    bytes.fill(0, bytes.length - from, bytes.length - from + 4);
    return bytes;
  };
  const far = Buffer.from(zip(files));
  far.writeUInt32LE(1e6, far.length - 10);
  const many = Buffer.from(zip(files));
  many.writeUInt16LE(3, many.length - 12);
  const cases: [what: string, bytes: Uint8Array, problem: RegExp][] = [
    ['nothing', new Uint8Array(0), /its end is missing/],
    ['no end', zip(files).subarray(0, -1), /its end is missing/],
    ['no locator', without(42), /its Zip64 locator is missing/],
    ['no record', without(98), /its Zip64 record is missing/],
    ['a directory beyond the end', far, /its directory goes beyond the end of the file/],
    ['too few entries', many, /its directory has no entry 3 of 3/],
  ];
  for (const [what, bytes, problem] of cases) {
    await refuses(what, () => storedEntries(source(bytes)), 'model.bin', problem);
  }
});

test.run();
