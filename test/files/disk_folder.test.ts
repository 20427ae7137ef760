import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskFolder } from '../../src/files/disk_folder.ts';
import { readText } from '../../src/files/folder.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

test('reads files, and returns undefined for those that do not exist', async () => {
  const root = temporaryFolder();
  const folder = new DiskFolder(root);
  writeFileSync(join(root, 'a.txt'), '\uFEFFgrün');
  assert.is(folder.pathOf('a.txt'), join(root, 'a.txt'));
  assert.is(await readText(folder, 'a.txt'), '\uFEFFgrün');
  assert.equal([...(await folder.read('a.txt'))!.subarray(3)], [...Buffer.from('grün')]);
  assert.is(await folder.read('b.txt'), undefined);
  assert.is(await readText(folder, 'b.txt'), undefined);
  assert.is(await folder.open('b.txt'), undefined);
  const source = (await folder.open('a.txt'))!;
  const bytes = new Uint8Array(2);
  await source.read(bytes, 4, 'the second letter');
  await source.close();
  assert.equal([...bytes], [...Buffer.from('r\u00fc').subarray(0, 2)]);
});

test('exists if its path is a directory', async () => {
  const root = temporaryFolder();
  writeFileSync(join(root, 'file'), '');
  assert.ok(await new DiskFolder(root).exists());
  assert.not.ok(await new DiskFolder(join(root, 'none')).exists());
  assert.not.ok(await new DiskFolder(join(root, 'file')).exists());
  assert.is(await new DiskFolder(join(root, 'file')).read('a'), undefined);
  assert.is(await new DiskFolder(join(root, 'file')).open('a'), undefined);
});

test('refuses to read a folder as a file', async () => {
  const root = temporaryFolder();
  mkdirSync(join(root, 'inner'));
  await refuses('read', () => new DiskFolder(root).read('inner'), join(root, 'inner'), /is a folder, not a file/);
  await refuses('open', () => new DiskFolder(root).open('inner'), join(root, 'inner'), /is not a file/);
});

test('writes bytes and chunks as whole files, and creates the folder', async () => {
  const root = join(temporaryFolder(), 'new', 'deeper');
  const folder = new DiskFolder(root);
  await folder.write('a', Buffer.from('one'));
  await folder.write('b', chunks('two', 'three'));
  assert.is(readFileSync(join(root, 'a'), 'utf8'), 'one');
  assert.is(readFileSync(join(root, 'b'), 'utf8'), 'twothree');
  assert.equal(readdirSync(root), ['a', 'b']);
});

test('keeps the earlier file if a chunk cannot be produced', async () => {
  const root = temporaryFolder();
  const folder = new DiskFolder(root);
  await folder.write('a', Buffer.from('one'));
  const message = await folder.write('a', failing()).then(
    () => 'nothing failed',
    error => error.message,
  );
  assert.is(message, 'no more');
  assert.is(readFileSync(join(root, 'a'), 'utf8'), 'one');
  assert.equal(readdirSync(root), ['a']);
});

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

async function* failing(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('two');
  throw new Error('no more');
}

test.run();
