import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openFolder } from '../../src/platform/node.ts';
import { canonicalCheckpoint } from '../../src/weights/canonical.ts';
import { openCheckpoint } from '../../src/weights/checkpoint.ts';
import type { TensorToWrite } from '../../src/weights/safetensors.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import type { TensorFile } from '../../src/weights/tensor_file.ts';
import { hasReference, reference } from '../reference.ts';
import { refuses, temporaryFolder } from './temporary.ts';
import { stateDict, storage, tensor, torchFile } from './torch_file.ts';

const root = temporaryFolder();
let folders = 0;

/** Returns a new folder with these files. */
function folderOf(files: Record<string, string | Uint8Array>): string {
  const folder = join(root, `checkpoint${folders++}`);
  mkdirSync(folder);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

const one = (name: string, ...values: number[]): TensorToWrite => ({
  name,
  shape: [values.length],
  data: Float32Array.from(values),
});
const indexOf = (weightMap: unknown) => JSON.stringify({ metadata: { total_size: 8 }, weight_map: weightMap });

async function shards(index: string, parts: Record<string, TensorToWrite[]>): Promise<string> {
  const folder = folderOf({ 'model.safetensors.index.json': index });
  for (const [name, tensors] of Object.entries(parts)) await writeSafetensors(join(folder, name), tensors);
  return folder;
}

test('safetensors are preferred to PyTorch files, one file to shards', async () => {
  const folder = await shards(indexOf({ a: 's1', b: 's2' }), { s1: [one('a', 1)], s2: [one('b', 2)] });
  const bin = torchFile(stateDict({ c: tensor(storage('FloatStorage', '0', 1), 0, [1], [1]) }), {
    0: new Uint8Array(4),
  });
  writeFileSync(join(folder, 'pytorch_model.bin'), bin);
  writeFileSync(join(folder, 'p1.bin'), bin);
  writeFileSync(join(folder, 'pytorch_model.bin.index.json'), indexOf({ c: 'p1.bin' }));
  await writeSafetensors(join(folder, 'model.safetensors'), [one('d', 4)]);
  const order = [
    'model.safetensors',
    'model.safetensors.index.json',
    'pytorch_model.bin',
    'pytorch_model.bin.index.json',
  ];
  for (const [i, expected] of order.entries()) {
    const file = await openCheckpoint(openFolder(folder));
    assert.is(file.path, join(folder, expected));
    assert.equal([...file.tensors.keys()], [['d'], ['a', 'b'], ['c'], ['c']][i], expected);
    await file.close();
    rmSync(join(folder, expected));
  }
  await refuses(
    'a folder without weights',
    () => openCheckpoint(openFolder(folder)),
    folder,
    /has no weights \(looked for model\.safetensors, /,
  );
  await refuses('no folder', () => openCheckpoint(openFolder(join(root, 'no'))), 'no', /is not a folder/);
});

test('shards are read as one file', async () => {
  const folder = await shards(indexOf({ a: 's1', b: 's2', c: 's1' }), {
    s1: [one('a', 1, 2), one('c', 5)],
    s2: [one('b', 3)],
  });
  const file = await openCheckpoint(openFolder(folder));
  assert.equal(
    [...file.tensors.values()].map(({ name, shape }) => [name, ...shape]),
    [
      ['a', 2],
      ['b', 1],
      ['c', 1],
    ],
  );
  assert.equal(await file.readFloat32('a'), Float32Array.of(1, 2));
  assert.equal(await file.readFloat32('b', new Float32Array(9)), Float32Array.of(3));
  await refuses('an unknown tensor', () => file.readFloat32('z'), 'model.safetensors.index.json', /no tensor named z/);
  await refuses('integers', () => file.readInt32('c'), 's1', /expected integers/);
  await file.close();
});

const brokenIndexes: [what: string, index: string, problem: RegExp][] = [
  ['invalid JSON', '{', /is not JSON/],
  ['a list', '[]', /holds \[\], expected an object/],
  ['no weight map', '{}', /weight_map is undefined, expected the file of each tensor/],
  ['a weight map that is a string', indexOf('model.safetensors'), /weight_map is "model\.safetensors"/],
  ['an empty weight map', indexOf({}), /weight_map is \{\}/],
  ['a number as a shard', indexOf({ a: 1 }), /a is in 1, expected a file in the same folder/],
  ['an empty name of a shard', indexOf({ a: '' }), /a is in "", expected a file/],
  [
    'a shard in the parent folder',
    indexOf({ a: '../secret' }),
    /a is in "\.\.\/secret", expected a file in the same folder/,
  ],
  ['the parent folder as a shard', indexOf({ a: '..' }), /a is in "\.\."/],
  ['an absolute path', indexOf({ a: '/etc/passwd' }), /a is in "\/etc\/passwd"/],
  ['a Windows path', indexOf({ a: 'C:\\x' }), /expected a file in the same folder/],
  ['a tensor twice', '{"weight_map":{"a":"s1","b":"s2","a":"s2"}}', /has weight_map: a twice/],
  ['a missing shard', indexOf({ a: 's1', b: 's3' }), /the shard s3 does not exist/],
  ['a tensor that is in no shard', indexOf({ a: 's1', b: 's2', c: 's2' }), /c should be in s2 but is in no shard/],
  ['tensors with exchanged shards', indexOf({ a: 's2', b: 's1' }), /a should be in s2 but is in s1/],
  [
    'a tensor missing from the index',
    indexOf({ a: 's1', b: 's2', x: 's4' }),
    /s4 holds y, but the index does not have it/,
  ],
  ['a tensor in two shards', indexOf({ a: 's1', b: 's2', z: 's5' }), /s5 holds a, but the index has it in s1/],
];

test('damaged indexes are refused', async () => {
  for (const [what, index, problem] of brokenIndexes) {
    const folder = await shards(index, {
      ...{ s1: [one('a', 1)], s2: [one('b', 2)], s4: [one('x', 1), one('y', 1)], s5: [one('z', 1), one('a', 1)] },
    });
    await refuses(what, () => openCheckpoint(openFolder(folder)), 'model.safetensors.index.json', problem);
  }
});

test('the error for a damaged shard names it', async () => {
  const folder = await shards(indexOf({ a: 's1', b: 's2' }), { s1: [one('a', 1)] });
  writeFileSync(join(folder, 's2'), 'short');
  await refuses(
    'a damaged shard',
    () => openCheckpoint(openFolder(folder)),
    join(folder, 's2'),
    /too short for a safetensors file/,
  );
});

const shared = 'language_model.model.shared.weight';
const encoder = 'language_model.model.encoder.embed_tokens.weight';
const head = 'language_model.lm_head.weight';
const embedding = (name: string, ...values: number[]): TensorToWrite => ({
  name,
  shape: [2, 2],
  data: Float32Array.from(values),
});

async function canonical(tensors: TensorToWrite[]) {
  const folder = folderOf({});
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  const file = await openCheckpoint(openFolder(folder));
  try {
    return await canonicalCheckpoint(file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

test('tied embeddings: equal copies are dropped, an untied head is kept', async () => {
  const table = [1, 2, 3, 4];
  const cases: [what: string, tensors: TensorToWrite[], names: string[], dropped: string[]][] = [
    ['only the shared table', [embedding(shared, ...table)], [], []],
    [
      'equal copies',
      [embedding(shared, ...table), embedding(encoder, ...table), embedding(head, ...table)],
      [],
      [encoder, head],
    ],
    ['an untied head', [embedding(shared, ...table), embedding(head, 1, 2, 3, 5)], ['lm_head.weight'], []],
    [
      'an equal head in fp16',
      [embedding(shared, ...table), { ...embedding(head, ...table), dtype: 'F16' }],
      [],
      [head],
    ],
    ['a head with -0', [embedding(shared, 0, 2, 3, 4), embedding(head, -0, 2, 3, 4)], ['lm_head.weight'], []],
    [
      'a larger head',
      [embedding(shared, ...table), { ...one(head, 1, 2, 3, 4, 5, 6), shape: [3, 2] }],
      ['lm_head.weight'],
      [],
    ],
    ['only the copy of the encoder', [embedding(encoder, ...table)], [], []],
    ['only the head', [embedding(head, ...table)], [], []],
    [
      'native names',
      [embedding('model.language_model.shared.weight', ...table), embedding('lm_head.weight', 9, 9, 9, 9)],
      ['lm_head.weight'],
      [],
    ],
  ];
  for (const [what, tensors, names, dropped] of cases) {
    const checkpoint = await canonical(tensors);
    assert.equal([...checkpoint.tensors.keys()].sort(), ['language_model.shared.weight', ...names].sort(), what);
    assert.equal([...checkpoint.dropped.keys()], dropped, what);
    assert.is(checkpoint.tiedHead, names.length === 0, what);
    const values = await checkpoint.readFloat32('language_model.shared.weight');
    assert.is(values[1], 2, what);
    await checkpoint.close();
  }
});

test('tensors that Florence-2 does not have are refused', async () => {
  const table = embedding(shared, 1, 2, 3, 4);
  const cases: [what: string, tensors: TensorToWrite[], problem: RegExp][] = [
    ['an unknown name', [table, one('optimizer.step', 1)], /tensor optimizer\.step is not part of a Florence-2/],
    [
      'a tensor of another model',
      [one('vision_model.embeddings.class_embedding', 1)],
      /vision_model\.embeddings\.class_embedding is not part of a/,
    ],
    [
      'one tensor under two names',
      [table, embedding('model.language_model.shared.weight', 1, 2, 3, 4)],
      /are both language_model\.shared\.weight/,
    ],
    [
      'different embeddings',
      [table, embedding(encoder, 1, 2, 3, 5)],
      /encoder\.embed_tokens\.weight and .*shared\.weight differ/,
    ],
  ];
  for (const [what, tensors, problem] of cases)
    await refuses(what, () => canonical(tensors), 'model.safetensors', problem);
});

test('large copies are compared to the end', async () => {
  const count = 1_000_003; // more than one chunk
  const values = Float32Array.from({ length: count }, (_, i) => i);
  const other = values.slice();
  other[count - 1]++;
  const own = { name: head, shape: [count], data: other };
  const checkpoint = await canonical([{ name: shared, shape: [count], data: values }, own]);
  assert.is(checkpoint.tiedHead, false);
  await checkpoint.close();
  const tied = await canonical([
    { name: shared, shape: [count], data: values },
    { ...own, data: values },
  ]);
  assert.is(tied.tiedHead, true);
  await tied.close();
});

const variants = ['tiny', 'tiny-pad', 'tiny-large'].filter(name => hasReference(`model/${name}/hf/model.safetensors`));
for (const variant of variants) {
  test(`both layouts of ${variant} contain the same checkpoint`, async () => {
    const microsoft = await canonicalCheckpoint(
      await openCheckpoint(openFolder(reference(`model/${variant}/microsoft`))),
    );
    const native = await canonicalCheckpoint(await openCheckpoint(openFolder(reference(`model/${variant}/hf`))));
    const names = [...native.tensors.keys()].sort();
    assert.equal([...microsoft.tensors.keys()].filter(name => name !== 'final_logits_bias').sort(), names);
    for (const name of names) {
      const [a, b] = [await microsoft.readFloat32(name), await native.readFloat32(name, new Float32Array(1_000_000))];
      // The native vocabulary may have more rows.
      const rows = name === 'language_model.shared.weight' ? microsoft.tensors.get(name)!.shape[0] : undefined;
      const [shapeA, shapeB] = [microsoft.tensors.get(name)!.shape, native.tensors.get(name)!.shape];
      assert.equal(shapeA, rows ? [rows, shapeB[1]] : shapeB, name);
      assert.equal(a, b.subarray(0, a.length), name);
    }
    await microsoft.close();
    await native.close();
  });
}

if (hasReference('model/tiny/microsoft-fp16/pytorch_model.bin')) {
  test('copies that share a storage in a file of torch.save are dropped', async () => {
    const folder = folderOf({});
    copyFileSync(reference('model/tiny/microsoft-fp16/pytorch_model.bin'), join(folder, 'pytorch_model.bin'));
    const bin = await canonicalCheckpoint(await openCheckpoint(openFolder(folder)));
    const twin = await canonicalCheckpoint(await openCheckpoint(openFolder(reference('model/tiny/microsoft-fp16'))));
    assert.equal([...bin.tensors.keys()].sort(), [...twin.tensors.keys()].sort());
    assert.is(bin.dropped.size, 3);
    await bin.close();
    await twin.close();
  });
}

test('a transposed PyTorch view is read in row-major order', async () => {
  const values = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
  const bin = torchFile(stateDict({ image_projection: tensor(storage('FloatStorage', '0', 6), 0, [3, 2], [1, 3]) }), {
    0: values,
  });
  const checkpoint = await canonicalCheckpoint(
    await openCheckpoint(openFolder(folderOf({ 'pytorch_model.bin': bin }))),
  );
  const name = 'multi_modal_projector.image_projection.weight';
  assert.equal(checkpoint.tensors.get(name)!.shape, [2, 3]);
  assert.equal([...(await checkpoint.readFloat32(name))], [1, 2, 3, 4, 5, 6]);
  await checkpoint.close();
});

test('files are closed when opening fails', async () => {
  const folder = await shards(indexOf({ a: 's1', b: 's1' }), { s1: [one('a', 1)] });
  const open = () => (existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').length : 0); // Linux only
  const before = open();
  for (let i = 0; i < 5; i++) {
    await refuses('a missing tensor', () => openCheckpoint(openFolder(folder)), 'index.json', /b should be in s1/);
  }
  assert.is(open(), before);
  const file: TensorFile = await openSafetensors(join(folder, 's1'));
  await file.close();
  await refuses('a closed file', () => file.readFloat32('a'), 's1', /cannot be read/);
});

test.run();
