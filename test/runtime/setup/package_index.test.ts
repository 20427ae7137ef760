import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Http } from '../../../src/runtime/setup/http.ts';
import { findWheel } from '../../../src/runtime/setup/package_index.ts';
import type { Machine } from '../../../src/runtime/setup/wheel.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { messageOf } from './fixtures.ts';
import { hashOf, LocalIndex } from './local_index.ts';

const machine: Machine = { platform: 'linux', arch: 'x64', glibc: '2.36' };
const http = new Http();
const body = Buffer.from('a wheel');
const wheel = (version: string, python = 'cp313', platform = 'manylinux_2_27_x86_64') =>
  `tensorflow_cpu-${version}-${python}-${python}-${platform}.whl`;
const wanted = { project: 'tensorflow-cpu', requirement: '==2.21.0' };

let index: LocalIndex;
test.before.each(async () => {
  index = await LocalIndex.start();
});
test.after.each(() => index.stop());
test.after(() => http.close());

const find = (requirement = wanted.requirement, findLinks: string[] = [], indexes = [`${index.url}/simple`]) =>
  findWheel(http, { indexes, findLinks }, { ...wanted, requirement }, machine);

test('JSON pages: the newest Python, the right platform, hash and size', async () => {
  const files = [
    wheel('2.21.0', 'cp39'),
    wheel('2.21.0', 'cp313', 'win_amd64'),
    wheel('2.21.0'),
    wheel('2.21.0', 'cp310'),
  ];
  index.project(
    'tensorflow-cpu',
    [...files, wheel('2.20.0')].map(file => ({ file, body })),
  );
  const artifact = await find();
  assert.is(artifact.file, wheel('2.21.0'));
  assert.is(artifact.url, `${index.url}/files/${wheel('2.21.0')}`);
  assert.equal(artifact.hash, { algorithm: 'sha256', digest: hashOf(body) });
  assert.is(artifact.size, body.length);
});

test('HTML pages', async () => {
  const digest = hashOf(body);
  index.page(
    '/simple/tensorflow-cpu/',
    `<!DOCTYPE html><html><body><h1>Links</h1>
     <a href="../../f/${wheel('2.20.0')}#sha256=${digest}">old</a><br/>
     <a data-requires-python="&gt;=3.9" href='../../f/${wheel('2.21.0')}?a=1&amp;b=2#sha256=${digest}' >new</a>
     <a href="../../f/tensorflow_cpu-2.21.0.tar.gz#sha256=${digest}">source</a></body></html>`,
  );
  const artifact = await find();
  assert.is(artifact.url, `${index.url}/f/${wheel('2.21.0')}?a=1&b=2`);
  assert.is(artifact.hash?.digest, digest);
});

test('a range selects the newest version and ignores yanked files and pre-releases', async () => {
  index.project('tensorflow-cpu', [
    { file: wheel('2.9.0'), body },
    { file: wheel('2.21.0'), body },
    { file: wheel('2.22.0'), body, yanked: 'broken' },
    { file: wheel('2.23.0rc1'), body },
    { file: wheel('3.0.0'), body },
  ]);
  assert.is((await find('>=2.9,<3')).file, wheel('2.21.0'));
});

test('an extra index has the same priority as the main one', async () => {
  index.project('tensorflow-cpu', [{ file: wheel('2.21.0'), body }]);
  const artifact = await find('==2.21.0', [], [`${index.url}/nothing-here`, `${index.url}/simple/`]);
  assert.is(artifact.file, wheel('2.21.0'));
});

test('find-links: a folder of wheels, and a path that does not exist', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, wheel('2.21.0')), body);
  const artifact = await find('==2.21.0', ['/nowhere/at/all', folder], []);
  assert.ok(artifact.url.startsWith('file://'));
  assert.is(artifact.hash, undefined);
});

test("the index's user and password are sent to it but not shown in messages", async () => {
  index.project('tensorflow-cpu', [{ file: wheel('2.21.0'), body }]);
  const place = index.url.replace('http://', 'http://me:p%40ss@');
  const artifact = await find('==2.21.0', [], [`${place}/simple`]);
  assert.is(index.headers[0]!.authorization, `Basic ${Buffer.from('me:p@ss').toString('base64')}`);
  assert.ok(artifact.url.startsWith(place), 'the files need the password too');
  const message = await messageOf(find('==9.9', [], [`${place}/simple`]));
  assert.not.match(message, 'p%40ss');
});

test('no wheel for this platform: the message lists the available platforms', async () => {
  index.project('tensorflow-cpu', [
    { file: wheel('2.21.0', 'cp313', 'win_amd64'), body },
    { file: wheel('2.21.0', 'cp313', 'manylinux_2_99_x86_64'), body },
  ]);
  const message = await messageOf(find());
  assert.match(message, 'linux x64, glibc 2.36');
  assert.match(message, 'win_amd64, manylinux_2_99_x86_64');
});

test('no such version: the message lists the newest releases', async () => {
  const versions = ['2.9.0', '2.20.0', '2.19.1', '2.22.0rc0', '2.18.0', '2.17.0', '2.16.2', '2.15.1'];
  index.project(
    'tensorflow-cpu',
    versions.map(version => ({ file: wheel(version), body })),
  );
  const message = await messageOf(find());
  assert.match(message, 'tensorflow-cpu ==2.21.0');
  assert.match(message, 'Available: 2.20.0, 2.19.1, 2.18.0, 2.17.0, 2.16.2, 2.15.1.');
});

test('no such project', async () => {
  assert.match(await messageOf(find()), 'No wheel of tensorflow-cpu was found in ');
});

test('a file without a published hash is refused', async () => {
  index.page('/simple/tensorflow-cpu/', `<a href="/f/${wheel('2.21.0')}">x</a>`);
  assert.match(await messageOf(find()), 'no sha256');
});

test('access denied', async () => {
  index.on('/simple/tensorflow-cpu/', (_, response) => response.writeHead(401).end());
  assert.match(await messageOf(find()), /answered 401 .*password/);
});

test('requests are repeated after a server error', async () => {
  let failures = 1;
  const page = JSON.stringify({
    files: [{ filename: wheel('2.21.0'), url: '/f/x', hashes: { sha256: hashOf(body) } }],
  });
  index.on('/simple/tensorflow-cpu/', (_, response) => {
    if (failures-- > 0) response.writeHead(503).end();
    else response.writeHead(200, { 'content-type': 'application/vnd.pypi.simple.v1+json' }).end(page);
  });
  assert.is((await find()).file, wheel('2.21.0'));
  assert.is(index.requests.length, 2);
});

test.run();
