import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openFile } from '../../src/files/disk_folder.ts';
import { readPytorchBin } from '../../src/weights/pytorch_bin.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { hasReference, reference } from '../reference.ts';
import { refuses, temporaryFolder } from './temporary.ts';
import {
  global,
  int,
  pickle,
  proto,
  stateDict,
  stop,
  storage,
  tensor,
  text,
  torchFile,
  tuple,
  zip,
} from './torch_file.ts';

const path = join(temporaryFolder(), 'model.bin');
const open = (bytes: Uint8Array) => {
  writeFileSync(path, bytes);
  return openFile(path).then(readPytorchBin);
};

const six = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
const floats = storage('FloatStorage', '0', 6);
const good = tensor(floats, 0, [2, 3], [3, 1]);

const rebuild = global('torch._utils', '_rebuild_tensor_v2');

/** Returns a file of torch.save with this value under `a`. */
const withValue = (...value: (number | string | Uint8Array)[]) =>
  torchFile(stateDict({ a: pickle(...value) }), { 0: six });
const program = (...parts: (number | string | Uint8Array)[]) => torchFile(pickle(proto(), ...parts, stop), { 0: six });

if (hasReference('model/tiny/microsoft-fp16/pytorch_model.bin')) {
  test('a file of torch.save has the same tensors as the safetensors file', async () => {
    const bin = await readPytorchBin(await openFile(reference('model/tiny/microsoft-fp16/pytorch_model.bin')));
    const twin = await openSafetensors(reference('model/tiny/microsoft-fp16/model.safetensors'));
    assert.is(bin.tensors.size, 245);
    for (const { name, dtype, shape } of twin.tensors.values()) {
      assert.equal(bin.tensors.get(name), { name, dtype, shape });
      assert.equal(await bin.readFloat32(name), await twin.readFloat32(name), name);
    }
    const tied = [...bin.tensors.keys()].filter(name => !twin.tensors.has(name));
    const shared = await twin.readFloat32('language_model.model.shared.weight');
    assert.is(tied.length, 3);
    for (const name of tied) assert.equal(await bin.readFloat32(name), shared, name);
    await bin.close();
    await twin.close();
  });
}

test('views of a storage: offsets, strides, transposes, broadcasts', async () => {
  const views: [what: string, offset: number, shape: number[], strides: number[], expected: number[]][] = [
    ['whole', 0, [2, 3], [3, 1], [0, 1, 2, 3, 4, 5]],
    ['offset', 2, [2, 2], [2, 1], [2, 3, 4, 5]],
    ['transposed', 0, [3, 2], [1, 3], [0, 3, 1, 4, 2, 5]],
    ['a column', 1, [2], [3], [1, 4]],
    ['a column that keeps its axis', 1, [2, 1], [3, 1], [1, 4]],
    ['broadcast', 4, [2, 2], [0, 1], [4, 5, 4, 5]],
    ['every other', 1, [3, 1, 1], [2, 9, 9], [1, 3, 5]],
    ['scalar', 5, [], [], [5]],
    ['empty', 6, [0, 3], [3, 1], []],
    ['one row', 3, [1, 3], [77, 1], [3, 4, 5]],
    ['three axes', 0, [3, 1, 2], [1, 1, 3], [0, 3, 1, 4, 2, 5]],
  ];
  const file = await open(
    torchFile(
      stateDict(
        Object.fromEntries(
          views.map(([what, offset, shape, strides]) => [what, tensor(floats, offset, shape, strides)]),
        ),
      ),
      { 0: six },
    ),
  );
  for (const [what, , shape, , expected] of views) {
    assert.equal(file.tensors.get(what)?.shape, shape, what);
    assert.equal([...(await file.readFloat32(what))], expected, what);
    const into = new Float32Array(20);
    assert.equal([...(await file.readFloat32(what, into))], expected, `${what}, into a buffer`);
    assert.is(
      file.locate(what) === undefined,
      ['transposed', 'a column', 'a column that keeps its axis', 'broadcast', 'every other', 'three axes'].includes(
        what,
      ),
      what,
    );
  }
  await file.close();
});

test('all storage types are read', async () => {
  const types: [type: string, dtype: string, bytes: Uint8Array, expected: number[]][] = [
    ['FloatStorage', 'F32', new Uint8Array(Float32Array.of(1.5, -2).buffer), [1.5, -2]],
    ['HalfStorage', 'F16', new Uint8Array(Uint16Array.of(0x3e00, 0xc000).buffer), [1.5, -2]],
    ['BFloat16Storage', 'BF16', new Uint8Array(Uint16Array.of(0x3fc0, 0xc000).buffer), [1.5, -2]],
    ['DoubleStorage', 'F64', new Uint8Array(Float64Array.of(1.5, -2).buffer), [1.5, -2]],
    ['LongStorage', 'I64', new Uint8Array(BigInt64Array.of(5n, -2n).buffer), [5, -2]],
    ['IntStorage', 'I32', new Uint8Array(Int32Array.of(5, -2).buffer), [5, -2]],
    ['ShortStorage', 'I16', new Uint8Array(Int16Array.of(5, -2).buffer), [5, -2]],
    ['CharStorage', 'I8', new Uint8Array(Int8Array.of(5, -2).buffer), [5, -2]],
    ['ByteStorage', 'U8', Uint8Array.of(5, 250), [5, 250]],
    ['BoolStorage', 'BOOL', Uint8Array.of(1, 0), [1, 0]],
  ];
  for (const [type, dtype, bytes, expected] of types) {
    const file = await open(torchFile(stateDict({ a: tensor(storage(type, '7', 2), 0, [2], [1]) }), { 7: bytes }));
    assert.is(file.tensors.get('a')?.dtype, dtype);
    assert.equal([...(await file.readFloat32('a'))], expected, type);
    const isFloat = ['F32', 'F16', 'BF16', 'F64'].includes(dtype);
    if (isFloat) await refuses(type, () => file.readInt32('a'), 'model.bin', /expected integers/);
    else assert.equal([...(await file.readInt32('a'))], expected, type);
    await file.close();
  }
});

test('parameters, memo, metadata and later protocols are read', async () => {
  const parameter = pickle(
    global('torch._utils', '_rebuild_parameter'),
    tuple(good, 0x88, global('collections', 'OrderedDict'), ')R'),
    'R',
  );
  const orderedDict = pickle(global('collections', 'OrderedDict'), ')R');
  const metadata = pickle('}(', text('_metadata'), orderedDict, 'ub');
  const shortText = (value: string) => pickle(0x8c, value.length, value);
  const stackGlobal = (module: string, name: string) => pickle(shortText(module), shortText(name), 0x93);
  const frame = pickle(0x95, '\0\0\0\0\0\0\0\0');
  const programs: [what: string, bytes: Uint8Array][] = [
    ['a parameter', pickle(proto(), '}(', text('a'), parameter, 'u')],
    ['an OrderedDict with metadata', pickle(proto(), orderedDict, '(', text('a'), good, 'u', metadata)],
    [
      'an OrderedDict of pairs',
      pickle(proto(), global('collections', 'OrderedDict'), '](', text('a'), good, 0x86, 'e', 0x85, 'R'),
    ],
    ['one item', pickle(proto(), '}', text('a'), good, 's')],
    [
      'protocol 4',
      pickle(proto(4), frame, stackGlobal('collections', 'OrderedDict'), ')R', 0x94, '(', shortText('a'), good, 'u'),
    ],
    ['a memo', pickle(proto(), '}q\x05(', text('a'), 'r\x01\x00\x00\x00', good, 'uh\x05')],
    [
      'long integers',
      pickle(
        proto(),
        '}',
        text('a'),
        rebuild,
        tuple(floats, pickle(0x8a, 1, 0), tuple(int(6)), tuple(pickle(0x8a, 2, 1, 0)), 0x89, 'N'),
        'Rs',
      ),
    ],
  ];
  for (const [what, bytes] of programs) {
    const file = await open(torchFile(pickle(bytes, stop), { 0: six }, [['m/byteorder', Buffer.from('little')]]));
    assert.equal([...(await file.readFloat32('a'))], [0, 1, 2, 3, 4, 5], what);
    await file.close();
  }
});

const os = global('os', 'system');

const refused: [what: string, bytes: Uint8Array, problem: RegExp][] = [
  // Pickles that would run code in Python.
  ['os.system', program(os, tuple(text('true')), 'R'), /refused: the pickle uses os\.system/],
  ['os.system in a value', withValue(os, tuple(text('true')), 'R'), /uses os\.system/],
  ['eval', program(global('builtins', 'eval'), tuple(text('1')), 'R'), /uses builtins\.eval/],
  ['a global of protocol 4', program(0x8c, 2, 'os', 0x8c, 6, 'system', 0x93), /uses os\.system/],
  ['torch.load', program(global('torch', 'load')), /uses torch\.load/],
  ['a name of a JavaScript property', program(global('constructor', 'constructor')), /uses constructor\.constructor/],
  [
    'another rebuild function',
    program(global('torch._utils', '_rebuild_device_tensor_from_numpy')),
    /uses torch\._utils\._rebuild_device/,
  ],
  [
    'a storage without a type',
    program(global('torch.storage', 'UntypedStorage')),
    /uses torch\.storage\.UntypedStorage/,
  ],
  ['INST', program(`(iposix\nsystem\n`), /uses the opcode INST \(0x69\)/],
  ['OBJ', program('(', global('collections', 'OrderedDict'), 'o'), /uses the opcode OBJ \(0x6f\)/],
  ['NEWOBJ', program(global('collections', 'OrderedDict'), ')', 0x81), /uses the opcode NEWOBJ \(0x81\)/],
  ['NEWOBJ_EX', program(0x92), /uses the opcode NEWOBJ_EX/],
  ['EXT1', program(0x82, 1), /uses the opcode EXT1/],
  ['PERSID', program('Pstorage\n'), /uses the opcode PERSID/],
  ['an unknown opcode', program(0xff), /unknown opcode 0xff/],
  ['a call of a storage', withValue(global('torch', 'FloatStorage'), ')R'), /calls something other than a function/],
  ['a call of a tensor', withValue(good, ')R'), /calls something other than a function/],
  ['a call of a dict', withValue('})R'), /calls something other than a function/],
  ['a call of a number', withValue(int(1), ')R'), /the pickle is damaged/],
  ['state for a tensor', withValue(good, '}b'), /sets the state of something/],
  // Damaged pickles.
  ['protocol 0', torchFile(pickle('I1\n.')), /uses the opcode INT/],
  ['protocol 9', torchFile(pickle(proto(9), '}.')), /has protocol 9/],
  ['an empty pickle', torchFile(new Uint8Array(0)), /is truncated/],
  ['no STOP', torchFile(pickle(proto(), '}')), /is truncated/],
  ['a string beyond the end', torchFile(pickle(proto(), 'X\xff\xff\xff\x7fabc')), /is truncated/],
  ['a string of 8 EiB', torchFile(pickle(proto(4), 0x8d, '\xff\xff\xff\xff\xff\xff\xff\x7f')), /too large/],
  ['a truncated global', torchFile(pickle(proto(), 'ccollections')), /is truncated/],
  ['a string that is not UTF-8', torchFile(pickle(proto(), 'X\x01\x00\x00\x00\xff.')), /not UTF-8/],
  ['an empty stack', torchFile(pickle(proto(), stop)), /the pickle is damaged/],
  ['a tuple without a mark', torchFile(pickle(proto(), 't.')), /the pickle is damaged/],
  ['a mark as a value', torchFile(pickle(proto(), '(', stop)), /the pickle is damaged/],
  ['a missing memo', torchFile(pickle(proto(), 'h\x00.')), /the pickle is damaged/],
  ['a key without a value', torchFile(pickle(proto(), '}(', text('a'), 'u.')), /the pickle is damaged/],
  ['items for a list', torchFile(pickle(proto(), '](', text('a'), text('b'), 'u.')), /the pickle is damaged/],
  ['a global that is a number', torchFile(pickle(proto(4), int(1), int(2), 0x93, stop)), /the pickle is damaged/],
  // Pickles of something else.
  ['a list', program(']'), /is not a dictionary of tensors/],
  ['a nested dict', torchFile(stateDict({ state_dict: pickle('}') })), /state_dict is not a tensor/],
  ['a number', torchFile(stateDict({ epoch: int(3) })), /epoch is not a tensor/],
  ['a key that is a number', torchFile(pickle(proto(), '}', int(3), good, 's.'), { 0: six }), /3 is not a tensor/],
  ['null', torchFile(stateDict({ a: pickle('N') })), /a is not a tensor/],
  // Invalid tensors.
  [
    'a tensor beyond its storage',
    withValue(tensor(floats, 1, [2, 3], [3, 1])),
    /\[2,3\] with strides \[3,1\] at 1 goes beyond its storage of 6/,
  ],
  ['strides beyond the storage', withValue(tensor(floats, 0, [2, 3], [100, 1])), /goes beyond its storage/],
  [
    'a shape with too many elements',
    withValue(tensor(floats, 0, [2 ** 30, 2 ** 30, 2 ** 30], [0, 0, 0])),
    /goes beyond its storage/,
  ],
  ['a negative stride', withValue(tensor(floats, 5, [6], [-1])), /in a form that torch\.save does not write/],
  ['a negative offset', withValue(tensor(floats, -1, [2], [1])), /in a form that torch\.save does not write/],
  ['more strides than axes', withValue(tensor(floats, 0, [6], [1, 1])), /in a form that torch\.save does not write/],
  [
    'a tensor without a storage',
    withValue(rebuild, tuple(int(1), int(0), ')', ')', 0x89, 'N'), 'R'),
    /in a form that torch\.save does not write/,
  ],
  ['a missing storage', torchFile(stateDict({ a: good })), /data\/0 is missing from the archive/],
  [
    'a storage outside of its folder',
    withValue(tensor(storage('FloatStorage', '../version', 1), 0, [1], [1])),
    /is missing from the archive/,
  ],
  [
    'a short storage',
    torchFile(stateDict({ a: good }), { 0: new Uint8Array(23) }),
    /data\/0 has 23 bytes, 6 F32 need 24/,
  ],
  [
    'a storage of 2^31 elements',
    withValue(storage('FloatStorage', '0', -1), ')R'),
    /refers to something that is not a storage/,
  ],
  [
    'a reference to a module',
    withValue(tuple(text('module'), text('x')), 'Q'),
    /refers to something that is not a storage/,
  ],
  ['a reference that is a string', withValue(text('storage'), 'Q'), /refers to something that is not a storage/],
  // Archives.
  ['an empty file', new Uint8Array(0), /was not written by torch\.save/],
  ['a text file', new TextEncoder().encode('hello, world, not a checkpoint'), /was not written by torch\.save/],
  [
    'the format before 1.6',
    pickle(proto(), 0x8a, 10, 'lF\xf9l\x57\xb2\x1b\x6e\xa4\x1b', stop),
    /the format of PyTorch before 1\.6/,
  ],
  ['the start of an archive', torchFile(stateDict({ a: good }), { 0: six }).subarray(0, 60), /damaged zip archive/],
  ['a truncated archive', torchFile(stateDict({ a: good }), { 0: six }).subarray(0, -3), /damaged zip archive/],
  ['an archive of other files', zip([['readme.txt', six]]), /but torch\.save did not write it/],
  [
    'two pickles',
    zip([
      ['a/data.pkl', six],
      ['b/data.pkl', six],
    ]),
    /but torch\.save did not write it/,
  ],
  [
    'a TorchScript program',
    torchFile(stateDict({}), {}, [['m/constants.pkl', six]]),
    /is a TorchScript program \(it has m\/constants\.pkl\)/,
  ],
  ['TorchScript code', torchFile(stateDict({}), {}, [['m/code/__torch__.py', six]]), /is a TorchScript program/],
  [
    'big-endian numbers',
    torchFile(stateDict({ a: good }), { 0: six }, [['m/byteorder', Buffer.from('big')]]),
    /byte order "big"/,
  ],
  ['an encrypted archive', zip([['m/data.pkl', six]], { encrypted: true }), /is encrypted/],
  ['a compressed archive', zip([['m/data.pkl', six]], { method: 8 }), /is compressed/],
  [
    'two entries with one name',
    torchFile(stateDict({ a: good }), { 0: six }, [['m/data/0', six]]),
    /entry m\/data\/0 appears twice/,
  ],
];

for (const [what, bytes, problem] of refused) {
  test(`refuses ${what}`, async () => {
    await refuses(what, () => open(bytes), 'model.bin', problem);
  });
}

test('refuses entries beyond the end of the file and without a local header', async () => {
  const bytes = Buffer.from(torchFile(stateDict({ a: good }), { 0: six }));
  const central = bytes.indexOf('PK\x01\x02');
  const far = Buffer.from(bytes);
  far.writeUInt32LE(bytes.length - 40, central + 42);
  await refuses('a far entry', () => open(far), 'model.bin', /has no local header|beyond the file's end/);
  const wide = Buffer.from(bytes);
  wide.writeUInt32LE(10_000, central + 20);
  wide.writeUInt32LE(10_000, central + 24);
  await refuses('a wide entry', () => open(wide), 'model.bin', /beyond the file's end|damaged/);
});

for (const [what, bytes, problem] of [
  [
    'a name that is a tuple of itself, 40 levels deep',
    program('}', text('x'), ...new Array(40).fill([0x71, 0, 'h', 0, 0x86]).flat(), good, 's'),
    /\[\[\[.* is not a tensor; only a plain state dict is supported/,
  ],
  [
    'a storage key that is a tuple of itself',
    withValue(
      ...['(', text('storage'), global('torch', 'FloatStorage'), text('x')],
      ...new Array(40).fill([0x71, 0, 'h', 0, 0x86]).flat(),
      ...[text('cpu'), int(6), 't', 'Q'],
    ),
    /refers to something that is not a storage/,
  ],
  ['25 million lists', program(Buffer.alloc(25_000_000, ']')), /builds more than the limit of 2000000 values/],
  [
    'one element repeated 400 million times',
    withValue(tensor(floats, 0, [4e8], [0])),
    /a tensor \[400000000\] repeats the 6 elements of its storage, to more than the limit of 1048576/,
  ],
] as const) {
  test(`refuses ${what} in time and memory`, async () => {
    const start = performance.now();
    await refuses(what, () => open(bytes), path, problem);
    assert.ok(performance.now() - start < 5000);
  });
}

test.run();
