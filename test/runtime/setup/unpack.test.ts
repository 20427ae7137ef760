import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { untar, unzip } from '../../../src/runtime/setup/unpack.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { makeTarball, zipFile } from './archives.ts';
import { messageOf } from './fixtures.ts';

test('the selected files of a wheel, with their new names', async () => {
  const folder = temporaryFolder();
  const zip = zipFile([
    { name: 'tensorflow/', body: '' },
    { name: 'tensorflow/lib.so.2', body: 'library' },
    { name: 'tensorflow/bin/tool', body: 'tool', mode: 0o755 },
    { name: 'tensorflow/x.py', body: 'unwanted' },
  ]);
  let last = [0, 0];
  const place = (name: string) => (name.endsWith('.py') ? undefined : `site/${name}`);
  const count = await unzip(zip, folder, place, (...counts) => (last = counts));
  assert.is(count, 2);
  assert.equal(last, [11, 11]);
  assert.is(readFileSync(join(folder, 'site/tensorflow/lib.so.2'), 'utf8'), 'library');
  assert.ok(statSync(join(folder, 'site/tensorflow/bin/tool')).mode & 0o100, 'a program stays executable');
  assert.not.ok(existsSync(join(folder, 'site/tensorflow/x.py')));
});

test('a zip file with paths outside its folder is refused', async () => {
  const folder = temporaryFolder();
  for (const name of ['../evil', 'a/../../evil', '/evil']) {
    assert.match(
      await messageOf(unzip(zipFile([{ name, body: 'x' }]), join(folder, 'in'), name => name)),
      /outside|Cannot unpack/,
    );
  }
  assert.equal(readdirSync(folder), []);
});

test('a zip file larger than the free disk space is refused', async () => {
  const zip = zipFile([
    { name: 'a', body: 'x', claimedSize: 0xfffffff0 },
    ...Array.from({ length: 2000 }, (_, i) => ({ name: `b${i}`, body: '', claimedSize: 0xfffffff0 })),
  ]);
  assert.match(await messageOf(unzip(zip, temporaryFolder(), name => name)), /Not enough free space/);
});

test('a file that is not a zip file is refused', async () => {
  const path = join(temporaryFolder(), 'x.whl');
  writeFileSync(path, 'not a zip file');
  assert.match(await messageOf(unzip(path, temporaryFolder(), name => name)), /Cannot unpack .*x\.whl/);
});

test('an npm package with long names', async () => {
  const folder = temporaryFolder();
  const long = `package/${'deep/'.repeat(30)}file.js`;
  await untar(
    makeTarball([
      { name: 'package/package.json', body: '{}' },
      { name: long, body: 'x'.repeat(1000) },
    ]),
    folder,
    'p.tgz',
  );
  assert.is(readFileSync(join(folder, 'package.json'), 'utf8'), '{}');
  assert.is(readFileSync(join(folder, long.replace('package/', '')), 'utf8').length, 1000);
});

test('an npm package with paths outside its folder is refused', async () => {
  const folder = temporaryFolder();
  assert.match(
    await messageOf(untar(makeTarball([{ name: 'package/../../evil', body: 'x' }]), join(folder, 'in'), 'p.tgz')),
    /outside its folder/,
  );
  assert.equal(readdirSync(folder), []);
});

test.run();
