import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { reference } from '../reference.ts';
import { refuses, temporaryFolder } from './temporary.ts';

const folder = temporaryFolder();
const at = (name: string) => join(folder, name);

/** Returns a file with a header (an object, or its text or bytes) followed by data. */
function bytesOf(header: unknown, data: number | Uint8Array = 0, declaredLength?: bigint): Uint8Array {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const json = header instanceof Uint8Array ? header : new TextEncoder().encode(text);
  const body = typeof data === 'number' ? new Uint8Array(data) : data;
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, declaredLength ?? BigInt(json.length), true);
  return Buffer.concat([length, json, body]);
}

const f32 = (shape: number[], begin: number, end: number) => ({ dtype: 'F32', shape, data_offsets: [begin, end] });

const malformed: [what: string, bytes: Uint8Array, problem: RegExp][] = [
  ['an empty file', new Uint8Array(0), /0 bytes is too short/],
  ['seven bytes', new Uint8Array(7), /7 bytes is too short/],
  [
    'a header length beyond the limit',
    bytesOf({}, 0, 2n ** 63n),
    /header length 9223372036854775808 exceeds the limit of 100000000/,
  ],
  ['a header length beyond the file', bytesOf({}, 0, 3n), /header length 3 exceeds the file's 10 bytes/],
  ['no header', bytesOf(''), /the header is not JSON/],
  ['a header that is not UTF-8', bytesOf(Uint8Array.of(0x7b, 0xff, 0x7d)), /not UTF-8/],
  ['a header that is not JSON', bytesOf('{"a": '), /the header is not JSON/],
  ['a header of several lines that is not JSON', bytesOf('{"a":\n\n oops}'), /the header is not JSON/],
  ['a list', bytesOf('[]'), /not a JSON object/],
  ['null', bytesOf('null'), /not a JSON object/],
  ['spaces before the header', bytesOf(' {}'), /not a JSON object/],
  ['a byte order mark', bytesOf('\uFEFF{}'), /the header is not JSON/],
  [
    'two tensors with one name',
    bytesOf(`{"a":${JSON.stringify(f32([1], 0, 4))},"a":${JSON.stringify(f32([1], 0, 4))}}`, 4),
    /has a twice/,
  ],
  [
    'one name with and without escapes',
    bytesOf(`{"a":${JSON.stringify(f32([1], 0, 4))},"\\u0061":${JSON.stringify(f32([1], 4, 8))}}`, 8),
    /has a twice/,
  ],
  [
    'a field twice',
    bytesOf('{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}', 4),
    /has a: dtype twice/,
  ],
  ['metadata that is not an object', bytesOf({ __metadata__: 'x' }), /__metadata__ is not an object/],
  ['metadata that is not a string', bytesOf({ __metadata__: { format: 1 } }), /__metadata__ format is not a string/],
  ['an entry that is not an object', bytesOf({ a: 3 }), /tensor a: its header entry is not an object/],
  [
    'an entry with an unknown field',
    bytesOf({ a: { ...f32([1], 0, 4), strides: [1] } }, 4),
    /tensor a: unknown field strides/,
  ],
  [
    'an unknown dtype',
    bytesOf({ a: { ...f32([4], 0, 4), dtype: 'F8_E4M3' } }, 4),
    /tensor a: dtype "F8_E4M3" is not one of F64, F32/,
  ],
  [
    'a dtype that is a JavaScript property',
    bytesOf({ a: { ...f32([1], 0, 4), dtype: 'toString' } }, 4),
    /dtype "toString" is not one of/,
  ],
  ['no dtype', bytesOf({ a: { shape: [1], data_offsets: [0, 4] } }, 4), /tensor a: dtype undefined/],
  ['a negative dimension', bytesOf({ a: f32([-1], 0, 4) }, 4), /shape \[-1\] is not a list of non-negative integers/],
  ['a fractional dimension', bytesOf({ a: f32([1.5], 0, 4) }, 4), /shape \[1\.5\] is not a list/],
  ['a shape that is not a list', bytesOf({ a: { ...f32([], 0, 4), shape: 4 } }, 4), /shape 4 is not a list/],
  ['a shape with too many elements', bytesOf({ a: f32([2 ** 50, 2 ** 50], 0, 4) }, 4), /is too large/],
  [
    'a shape with too large dimensions and a 0',
    bytesOf({ a: f32([1e300, 1e300, 0], 0, 0) }),
    /is not a list|is too large/,
  ],
  ['one offset', bytesOf({ a: { ...f32([1], 0, 4), data_offsets: [0] } }, 4), /data_offsets \[0\] are not two/],
  [
    'an offset that is a string',
    bytesOf({ a: { ...f32([1], 0, 4), data_offsets: ['0', 4] } }, 4),
    /are not two non-negative integers/,
  ],
  ['a negative offset', bytesOf({ a: f32([1], -4, 0) }, 4), /are not two non-negative integers/],
  ['offsets in reverse order', bytesOf({ a: f32([1], 4, 0) }, 4), /data_offsets 4\.\.0 are outside/],
  [
    'offsets beyond the file',
    bytesOf({ a: f32([2], 0, 8) }, 4),
    /data_offsets 0\.\.8 are outside of the file's 4 bytes/,
  ],
  [
    'too few bytes for the shape',
    bytesOf({ a: f32([2], 0, 4) }, 4),
    /F32 \[2\] is 8 bytes, data_offsets 0\.\.4 hold 4/,
  ],
  ['overlapping tensors', bytesOf({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8), /tensors a and b overlap/],
  ['two tensors at the same offsets', bytesOf({ a: f32([1], 0, 4), b: f32([1], 0, 4) }, 4), /tensors a and b overlap/],
  [
    'a gap',
    bytesOf({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12),
    /4 bytes between a and tensor b belong to no tensor/,
  ],
  ['a gap at the beginning', bytesOf({ a: f32([1], 4, 8) }, 8), /4 bytes between the header and tensor a/],
  ['trailing bytes', bytesOf({ a: f32([1], 0, 4) }, 5), /1 bytes at the end belong to no tensor/],
  ['bytes without a tensor', bytesOf({}, 3), /3 bytes at the end/],
  [
    'a Git LFS pointer',
    new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n'),
    /is a Git LFS pointer/,
  ],
];

for (const [what, bytes, problem] of malformed) {
  test(`refuses ${what}`, async () => {
    writeFileSync(at('bad.safetensors'), bytes);
    await refuses(what, () => openSafetensors(at('bad.safetensors')), 'bad.safetensors', problem);
  });
}

test('refuses folders and missing files', async () => {
  await refuses('nothing', () => openSafetensors(at('nothing')), 'nothing', /does not exist/);
  await refuses('a folder', () => openSafetensors(folder), folder, /is not a file/);
});

test('a real file is refused at every shorter length', async () => {
  const whole = readFileSync(reference('processor/decoded_rgb_u8.safetensors'));
  const header = Number(whole.readBigUInt64LE());
  for (const length of [8, 9, 7 + header, 8 + header, 9 + header, whole.length - 1]) {
    writeFileSync(at('cut.safetensors'), whole.subarray(0, length));
    await refuses(
      `${length} bytes`,
      () => openSafetensors(at('cut.safetensors')),
      'cut.safetensors',
      /truncated|outside of the file/,
    );
  }
});

test('the error for a file that shrinks while it is open says where it ends', async () => {
  await writeSafetensors(at('shrinks.safetensors'), [{ name: 'a', shape: [100], data: new Float32Array(100) }]);
  const file = await openSafetensors(at('shrinks.safetensors'));
  truncateSync(at('shrinks.safetensors'), 200);
  await refuses(
    'a shrunk file',
    () => file.readFloat32('a'),
    'shrinks.safetensors',
    /ends at byte 200, within tensor a/,
  );
  await file.close();
});

test('reads empty files, empty tensors, scalars, and unusual names', async () => {
  writeFileSync(at('odd.safetensors'), bytesOf('{}   '));
  let file = await openSafetensors(at('odd.safetensors'));
  assert.is(file.tensors.size, 0);
  await file.close();
  const names = ['__proto__', 'a b', 'größe', '"quoted"', ''];
  const header = Object.fromEntries([...names.entries()].map(([i, name]) => [name, f32([], 4 * i, 4 * i + 4)]));
  const list = [...Object.entries(header), ['empty', f32([3, 0], 20, 20)]].map(
    ([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`,
  );
  writeFileSync(
    at('odd.safetensors'),
    bytesOf(`{${list.join()}}`, new Uint8Array(Float32Array.of(1, 2, 3, 4, 5).buffer)),
  );
  file = await openSafetensors(at('odd.safetensors'));
  for (const [i, name] of names.entries()) {
    assert.equal(file.tensors.get(name)?.shape, []);
    assert.equal(await file.readFloat32(name), Float32Array.of(i + 1), name);
  }
  assert.equal(await file.readFloat32('empty'), new Float32Array(0));
  await refuses('an unknown tensor', () => file.readFloat32('b'), 'odd.safetensors', /no tensor named b \(of 6/);
  await file.close();
});

test('reads the reference file with the tensors of its description', async () => {
  const file = await openSafetensors(reference('model/tiny-pad/inputs.safetensors'));
  const manifest = JSON.parse(readFileSync(reference('model/tiny-pad/manifest.json'), 'utf8'));
  for (const { name, shape, dtype, max_abs: maxAbs, rms } of manifest.files['inputs.safetensors']) {
    const info = file.tensors.get(name)!;
    assert.equal([info.shape, info.dtype], [shape, dtype === 'int64' ? 'I64' : 'F32'], name);
    const values = await file.readFloat32(name);
    if (dtype === 'int64') assert.equal(Float32Array.from(await file.readInt32(name)), values, name);
    else {
      const largest = values.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
      const square = values.reduce((sum, x) => sum + x * x, 0) / values.length;
      assert.ok(Math.abs(largest - maxAbs) < 1e-3 * maxAbs, `${name}: max ${largest}, not ${maxAbs}`);
      assert.ok(Math.abs(Math.sqrt(square) - rms) < 1e-3 * rms, `${name}: rms ${Math.sqrt(square)}, not ${rms}`);
    }
  }
  await refuses(
    'floats as integers',
    () => file.readInt32('pixel_values'),
    'inputs.safetensors',
    /pixel_values is F32, expected integers/,
  );
  const buffer = new Float32Array(100_000).fill(9);
  const view = await file.readFloat32('text_input_ids', buffer);
  assert.is(view.buffer, buffer.buffer, 'the given buffer is used');
  assert.is(buffer[view.length], 9, 'only the first values are overwritten');
  await file.close();
});

test('tensors of every dtype are written aligned and read back', async () => {
  const floats = Float32Array.of(1, -0.5, 3, 0, 65504, 2 ** -24);
  const tensors = [
    { name: 'half', shape: [2, 3], dtype: 'F16', data: floats },
    { name: 'brain', shape: [1], dtype: 'BF16', data: Float32Array.of(1.0078125) },
    { name: 'float', shape: [6], data: floats },
    { name: 'scalar', shape: [], data: async () => Float32Array.of(7) },
    { name: 'int', shape: [2], data: Int32Array.of(-1, 2) },
    { name: 'long', shape: [3], dtype: 'I64', data: Int32Array.of(-1, 2 ** 31 - 1, -(2 ** 31)) },
    { name: 'empty', shape: [0, 4], data: new Float32Array(0) },
  ] as const;
  await writeSafetensors(at('all.safetensors'), tensors, { format: 'pt', note: 'ö' });
  const bytes = readFileSync(at('all.safetensors'));
  assert.is(Number(bytes.readBigUInt64LE()) % 8, 0, 'the data starts at a multiple of 8');
  const file = await openSafetensors(at('all.safetensors'));
  assert.equal(file.metadata, { format: 'pt', note: 'ö' });
  for (const tensor of tensors) {
    const { begin, dtype, shape } = file.tensors.get(tensor.name)!;
    const size = { F16: 2, BF16: 2, I64: 8 }[dtype as string] ?? 4;
    assert.is(begin % size, 0, `${tensor.name} is aligned`);
    assert.equal(shape, [...tensor.shape]);
    const data = typeof tensor.data === 'function' ? await tensor.data() : tensor.data;
    if (data instanceof Int32Array) assert.equal(await file.readInt32(tensor.name), data, tensor.name);
    else assert.equal(await file.readFloat32(tensor.name), data, tensor.name);
  }
  await file.close();
});

test('a failed write leaves only the old file', async () => {
  const path = at('kept.safetensors');
  await writeSafetensors(path, [{ name: 'a', shape: [1], data: Float32Array.of(1) }]);
  const before = readFileSync(path);
  const names = readdirSync(folder).sort();
  const tensor = { name: 'a', shape: [1], data: Float32Array.of(1) };
  const failing: [string, Parameters<typeof writeSafetensors>[1], RegExp][] = [
    ['two names', [tensor, tensor], /two tensors are named a/],
    ['a reserved name', [{ ...tensor, name: '__metadata__' }], /two tensors are named __metadata__/],
    ['a wrong shape', [tensor, { ...tensor, name: 'b', shape: [2] }], /tensor b has 1 values for the shape \[2\]/],
    ['floats as integers', [{ ...tensor, dtype: 'I64' }], /tensor a cannot be written as I64 from Float32Array/],
  ];
  for (const [what, tensors, problem] of failing) {
    await refuses(what, () => writeSafetensors(path, tensors), 'kept.safetensors', problem);
  }
  const data = () => Promise.reject(new Error('out of numbers'));
  const stopped = writeSafetensors(path, [tensor, { name: 'b', shape: [1], data }]);
  assert.is(await stopped.catch(error => error.message), 'out of numbers');
  assert.equal(readFileSync(path), before);
  assert.equal(readdirSync(folder).sort(), names);
  await refuses(
    'no folder',
    () => writeSafetensors(at('no/such.safetensors'), [tensor]),
    'such.safetensors',
    /its folder does not exist/,
  );
});

test('reads files beyond 2 GiB', async () => {
  // A sparse file: 2.2 GB that take a few blocks on disk.
  const path = at('large.safetensors');
  const count = 550_000_000;
  const header = bytesOf({ large: f32([count], 0, 4 * count), last: f32([2], 4 * count, 4 * count + 8) });
  const handle = await open(path, 'w');
  await handle.write(header);
  await handle.write(Float32Array.of(5, 6), 0, 8, header.length + 4 * count);
  await handle.close();
  assert.ok((await stat(path)).size > 2 ** 31);
  const file = await openSafetensors(path);
  assert.equal(await file.readFloat32('last'), Float32Array.of(5, 6));
  await file.close();
});

test.run();
