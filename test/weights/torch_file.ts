/** Concatenates the parts of a pickle: opcodes, text, bytes. */
export const pickle = (...parts: (number | string | Uint8Array)[]): Uint8Array =>
  Buffer.concat(
    parts.map(part => (typeof part === 'number' ? Buffer.of(part) : Buffer.from(part as string, 'latin1'))),
  );

export const proto = (version = 2) => pickle(0x80, version);
export const stop = '.';
export const global = (module: string, name: string) => `c${module}\n${name}\n`;
export const text = (value: string): Uint8Array => {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([Buffer.from('X'), uint32(bytes.length), bytes]);
};
export const int = (value: number): Uint8Array => Buffer.concat([Buffer.from('J'), uint32(value >>> 0)]);
export const tuple = (...items: (number | string | Uint8Array)[]) => pickle('(', ...items, 't');

/** Returns a reference to the storage data/<key>. */
export const storage = (type: string, key: string, elements: number) =>
  pickle(tuple(text('storage'), global('torch', type), text(key), text('cpu'), int(elements)), 'Q');

/** Returns a call of torch._utils._rebuild_tensor_v2, as torch.save writes it. */
export function tensor(from: Uint8Array, offset: number, shape: number[], strides: number[]): Uint8Array {
  const hooks = pickle(global('collections', 'OrderedDict'), ')R');
  const args = tuple(from, int(offset), tuple(...shape.map(int)), tuple(...strides.map(int)), 0x89, hooks);
  return pickle(global('torch._utils', '_rebuild_tensor_v2'), args, 'R');
}

/** Returns a complete pickle: a dictionary of names and values. */
export const stateDict = (values: Record<string, Uint8Array>): Uint8Array =>
  pickle(proto(), '}(', ...Object.entries(values).flatMap(([name, value]) => [text(name), value]), 'u', stop);

export interface ZipOptions {
  /** Compression method in the headers: 0 stored, 8 deflated. The data is always stored. Default 0. */
  method?: number;
  encrypted?: boolean;
}

/** Returns a zip archive of stored files, without checksums, which the reader ignores. */
export function zip(
  files: [name: string, bytes: Uint8Array][],
  { method = 0, encrypted = false }: ZipOptions = {},
): Uint8Array {
  const locals: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let position = 0;
  for (const [name, bytes] of files) {
    const nameBytes = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(encrypted ? 1 : 0, 2);
    common.writeUInt16LE(method, 4);
    common.writeUInt32LE(bytes.length + (encrypted ? 12 : 0), 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(nameBytes.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, nameBytes, bytes]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(position, 10);
    central.push(Buffer.concat([Buffer.from('PK\x01\x02'), uint16(20), common, rest, nameBytes]));
    locals.push(local);
    position += local.length;
  }
  const directory = Buffer.concat(central);
  const count = uint16(files.length);
  const end = [
    Buffer.from('PK\x05\x06'),
    uint32(0),
    count,
    count,
    uint32(directory.length),
    uint32(position),
    uint16(0),
  ];
  return Buffer.concat([...locals, directory, ...end]);
}

/** Returns a file of torch.save with a pickle and storages by key. */
export function torchFile(
  data: Uint8Array,
  storages: Record<string, Uint8Array> = {},
  more: [string, Uint8Array][] = [],
): Uint8Array {
  return zip([
    ['m/data.pkl', data],
    ...Object.entries(storages).map(([key, bytes]): [string, Uint8Array] => [`m/data/${key}`, bytes]),
    ['m/version', Buffer.from('3\n')],
    ...more,
  ]);
}

function uint32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint16(value: number): Uint8Array {
  return uint32(value).subarray(0, 2);
}
