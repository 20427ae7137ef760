import { type FileHandle, open } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

/**
 * Writes scalars to a TensorBoard event file, which `tensorboard --logdir` displays. The file consists of TFRecords of
 * Event messages, defined in tensorflow/core/util/event.proto and framework/summary.proto.
 */
export class EventFile {
  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
  ) {}

  /**
   * Creates an event file in an existing folder. It makes TensorBoard discard events from step `firstStep` on in the
   * folder's older files, which remain from an interrupted run.
   */
  static async create(folder: string, firstStep: number): Promise<EventFile> {
    const time = Date.now() / 1000;
    const path = join(folder, `events.out.tfevents.${Math.floor(time).toString().padStart(10, '0')}.${hostname()}`);
    const events = new EventFile(path, await open(path, 'a'));
    await events.append(fileVersionEvent(time), sessionStartEvent(time, firstStep));
    return events;
  }

  /** Writes the values of a step, by name. A `/` in a name forms groups. */
  async scalars(step: number, values: Record<string, number>): Promise<void> {
    await this.append(scalarsEvent(Date.now() / 1000, step, values));
  }

  /** Flushes the file to the disk. */
  async flush(): Promise<void> {
    await this.file.sync();
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  private async append(...events: Uint8Array[]): Promise<void> {
    await this.file.appendFile(Buffer.concat(events.map(tfRecord)));
  }
}

/** Encodes the first event of a file. */
export const fileVersionEvent = (time: number): Uint8Array => message(double(1, time), bytes(3, text('brain.Event:2')));

/** Encodes the status START of a SessionLog. */
export const sessionStartEvent = (time: number, step: number): Uint8Array =>
  message(double(1, time), varint(2, step), bytes(7, varint(1, 1)));

/** Encodes the scalars of a step. @param time seconds since 1970 */
export function scalarsEvent(time: number, step: number, values: Record<string, number>): Uint8Array {
  const summary = Object.entries(values).map(([tag, value]) => bytes(1, message(bytes(1, text(tag)), float(2, value))));
  return message(double(1, time), varint(2, step), bytes(5, message(...summary)));
}

/** Encodes a protocol buffer message. Each field consists of its number and wire type, followed by its value. */
const message = (...fields: Uint8Array[]): Uint8Array => Buffer.concat(fields);

const varint = (field: number, value: number): Uint8Array => Uint8Array.from([...digits(field * 8), ...digits(value)]);

const bytes = (field: number, value: Uint8Array): Uint8Array =>
  Uint8Array.from([...digits(field * 8 + 2), ...digits(value.length), ...value]);

function double(field: number, value: number): Uint8Array {
  const encoded = Buffer.alloc(8);
  encoded.writeDoubleLE(value);
  return Uint8Array.from([...digits(field * 8 + 1), ...encoded]);
}

function float(field: number, value: number): Uint8Array {
  const encoded = Buffer.alloc(4);
  encoded.writeFloatLE(value);
  return Uint8Array.from([...digits(field * 8 + 5), ...encoded]);
}

/** Encodes a whole number of at least 0 in groups of 7 bits, lowest first; the high bit marks that more follow. */
function digits(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...digits(Math.floor(value / 128))];
}

const text = (value: string): Uint8Array => Buffer.from(value, 'utf8');

/**
 * Encodes a record of a TFRecord file: its length, the length's checksum, the data, the data's checksum.
 * https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
 */
export function tfRecord(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(12 + data.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(record.subarray(0, 8))), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, masked(crc32c(data)), true);
  return record;
}

/** Returns the CRC-32C (Castagnoli) of data as an unsigned 32-bit number. RFC 3720, appendix B.4. */
export function crc32c(data: Uint8Array): number {
  let crc = ~0;
  for (const byte of data) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** CRC of each byte. 0x82f63b78 is the polynomial, lowest power first. */
const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** Masks a checksum as TFRecord requires: the CRC of data that contains its own CRC would be useless. */
const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
