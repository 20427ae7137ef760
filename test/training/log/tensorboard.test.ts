import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  crc32c,
  EventFile,
  fileVersionEvent,
  scalarsEvent,
  sessionStartEvent,
  tfRecord,
} from '../../../src/training/log/tensorboard.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

/** Encoded by the Event message of the Python package tensorboard 2.21.0. */
const events: [what: string, event: Uint8Array, hex: string][] = [
  ['file version', fileVersionEvent(1700000000.25), '0900001040fc54d9411a0d627261696e2e4576656e743a32'],
  ['session start', sessionStartEvent(1700000000.25, 7), '0900001040fc54d94110073a020801'],
  [
    'scalars',
    scalarsEvent(1700000001.5, 300, { 'train/loss': 0.5, 'valid/od/AP/dög': 0.1 }),
    '0900006040fc54d94110ac022a2c0a110a0a747261696e2f6c6f7373150000003f0a170a1076616c69642f6f642f41502f64c3b66715cdcccc3d',
  ],
];

for (const [what, event, hex] of events) {
  test(`event: ${what}`, () => assert.is(Buffer.from(event).toString('hex'), hex));
}

test('a file starts with the version and the start of a session', async () => {
  const file = await EventFile.create(temporaryFolder(), 7);
  await file.scalars(8, { loss: 1 });
  await file.close();
  const [, time, host] = /^events\.out\.tfevents\.(\d{10})\.(.*)$/.exec(basename(file.path)) ?? [];
  assert.is(host, hostname());
  assert.ok(Math.abs(Number(time) - Date.now() / 1000) < 60);

  const written = readFileSync(file.path);
  let offset = 0;
  const next = () => {
    const length = Number(written.readBigUInt64LE(offset));
    const data = written.subarray(offset + 12, offset + 12 + length);
    assert.equal(written.subarray(offset, offset + 16 + length), Buffer.from(tfRecord(data)));
    offset += 16 + length;
    return data;
  };
  const timeOf = (event: Buffer) => event.readDoubleLE(1);
  for (const expected of [
    (time: number) => fileVersionEvent(time),
    (time: number) => sessionStartEvent(time, 7),
    (time: number) => scalarsEvent(time, 8, { loss: 1 }),
  ]) {
    const event = next();
    assert.equal(event, Buffer.from(expected(timeOf(event))));
  }
  assert.is(offset, written.length);
});

const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);

/** From RFC 3720, appendix B.4 (which lists bytes instead of numbers), and the check value of CRC catalogues. */
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
  test(`the TFRecord of ${JSON.stringify(data)}`, () => {
    assert.is(Buffer.from(tfRecord(Buffer.from(data))).toString('hex'), record);
  });
}

test.run();
