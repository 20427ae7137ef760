import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openSafetensors, SafetensorsStream, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { refuses, temporaryFolder } from './temporary.ts';

const random = (count: number) => Float32Array.from({ length: count }, () => Math.random() - 0.5);
const tensors = [
  { name: 'b', shape: [2, 3], data: random(6) },
  { name: 'a', shape: [], data: random(1) },
  { name: 'none', shape: [0, 4], data: random(0) },
  { name: 'large', shape: [5, 1 << 20], data: random(5 << 20) }, // more than the buffer of the copy
];

async function written(path: string): Promise<SafetensorsStream> {
  const stream = await SafetensorsStream.create(path);
  for (const { name, shape, data } of tensors) stream.append(name, shape, data);
  return stream;
}

test('a file written tensor by tensor equals one written at once', async () => {
  const folder = temporaryFolder();
  const [streamed, whole] = ['streamed', 'whole'].map(name => join(folder, `${name}.safetensors`));
  const stream = await written(streamed);
  assert.equal(readdirSync(folder).length, 1, 'the temporary file');
  await stream.finish();
  await writeSafetensors(whole, tensors);
  assert.ok(readFileSync(streamed).equals(readFileSync(whole)), 'the bytes differ');
  assert.equal(readdirSync(folder), ['streamed.safetensors', 'whole.safetensors']);
  const file = await openSafetensors(streamed);
  assert.equal([...file.tensors.keys()], ['b', 'a', 'none', 'large']);
  for (const { name, data } of tensors) assert.equal(await file.readFloat32(name), data);
  await file.close();
});

test('a file without tensors is written', async () => {
  const path = join(temporaryFolder(), 'empty.safetensors');
  await (await SafetensorsStream.create(path)).finish({ about: 'nothing' });
  const file = await openSafetensors(path);
  assert.is(file.tensors.size, 0);
  assert.equal(file.metadata, { about: 'nothing' });
  await file.close();
});

test('an abandoned stream leaves the earlier file', async () => {
  const folder = temporaryFolder();
  const path = join(folder, 'kept');
  writeFileSync(path, 'before');
  await (await written(path)).abandon();
  assert.is(readFileSync(path, 'utf8'), 'before');
  assert.equal(readdirSync(folder), ['kept']);
});

test('write errors name the file and leave nothing', async () => {
  const folder = temporaryFolder();
  const nowhere = join(folder, 'no', 'folder');
  await refuses('no folder', () => SafetensorsStream.create(nowhere), nowhere, /its folder does not exist/);
  const path = join(folder, 'twice');
  const stream = await written(path);
  stream.append('a', [1], random(1));
  await refuses('two tensors with one name', () => stream.finish(), path, /two tensors are named a/);
  assert.equal(readdirSync(folder), []);
});

test.run();
