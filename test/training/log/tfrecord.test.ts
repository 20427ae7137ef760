import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { crc32c, tfRecord } from '../../../src/training/log/tensorboard.ts';

const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);

/** RFC 3720, appendix B.4 (as numbers, where it lists bytes), and the check value of CRC catalogues. */
const checksums: [what: string, data: Uint8Array, crc: number][] = [
  ['32 bytes of zeros', new Uint8Array(32), 0x8a9136aa],
  ['32 bytes of ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['32 bytes counting up', ascending, 0x46dd794e],
  ['32 bytes counting down', ascending.toReversed(), 0x113fdb5c],
  ['123456789', Buffer.from('123456789'), 0xe3069283],
  ['nothing', new Uint8Array(0), 0],
];

for (const [what, data, crc] of checksums) {
  test(`CRC-32C of ${what}`, () => assert.is(crc32c(data).toString(16), crc.toString(16)));
}

/** Written by the RecordWriter of the Python package tensorboard 2.21.0. */
const records: [data: string, record: string][] = [
  ['', '000000000000000029039807d8ea82a2'],
  ['Florence-2', '0a00000000000000aea3bf3a466c6f72656e63652d32cb966d5c'],
];

for (const [data, record] of records) {
  test(`the record of ${JSON.stringify(data)}`, () => {
    assert.is(Buffer.from(tfRecord(Buffer.from(data))).toString('hex'), record);
  });
}

test.run();
