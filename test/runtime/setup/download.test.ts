import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Artifact, download } from '../../../src/runtime/setup/download.ts';
import { Http } from '../../../src/runtime/setup/http.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { messageOf } from './fixtures.ts';
import { hashOf, LocalIndex } from './local_index.ts';

const http = new Http();
const body = Buffer.from(Uint32Array.from({ length: 50_000 }, (_, i) => (i * 2654435761) >>> 0).buffer);

let index: LocalIndex;
let folder: string;
test.before.each(async () => {
  index = await LocalIndex.start();
  folder = temporaryFolder();
});
test.after.each(() => index.stop());
test.after(() => http.close());

const artifact = (digest = hashOf(body)): Artifact => ({
  file: 'x.whl',
  url: `${index.url}/x.whl`,
  hash: { algorithm: 'sha256', digest },
});
const get = (what = artifact()) => download(http, what, folder, { retryDelay: 1 });

test('the file is complete, and progress reaches the total', async () => {
  index.file('/x.whl', body);
  let last = [0, 0];
  const path = await download(http, artifact(), folder, { onBytes: (...counts) => (last = counts) });
  assert.ok(readFileSync(path).equals(body));
  assert.equal(last, [body.length, body.length]);
  assert.equal(readdirSync(folder).length, 1);
});

test('an existing file is not downloaded again', async () => {
  index.file('/x.whl', body);
  const first = await get();
  assert.is(await get(), first);
  assert.is(index.requests.length, 1);
});

test('a download that is interrupted twice is resumed', async () => {
  index.file('/x.whl', body, 2);
  assert.ok(readFileSync(await get()).equals(body));
  assert.is(index.requests.length, 3);
  assert.match(index.requests[1]!, /bytes=\d+-/);
  assert.match(index.requests[2]!, /bytes=\d+-/);
});

test('a server without range requests sends the whole file again', async () => {
  let first = true;
  index.on('/x.whl', (_, response) => {
    response.writeHead(200, { 'content-length': body.length });
    if (!first) return response.end(body);
    first = false;
    return response.write(body.subarray(0, 1000), () => setTimeout(() => response.destroy(), 20));
  });
  assert.ok(readFileSync(await get()).equals(body));
});

test('a failed run leaves a partial file, which the next run completes', async () => {
  index.file('/x.whl', body, 5);
  assert.match(await messageOf(get()), /stopped after|interrupted/);
  const [part] = readdirSync(folder);
  assert.ok(part!.endsWith('.part'));
  index.requests.length = 0;
  assert.ok(readFileSync(await get()).equals(body));
  assert.match(index.requests[0]!, /bytes=\d+-/);
});

test('a damaged partial file is discarded', async () => {
  index.file('/x.whl', body, 5);
  assert.match(await messageOf(get()), /stopped after|interrupted/);
  const part = join(folder, readdirSync(folder)[0]!);
  writeFileSync(part, Buffer.alloc(readFileSync(part).length));
  assert.ok(readFileSync(await get()).equals(body));
});

test('a partial file longer than the file is discarded', async () => {
  index.file('/x.whl', body, 5);
  assert.match(await messageOf(get()), /stopped after|interrupted/);
  writeFileSync(join(folder, readdirSync(folder)[0]!), Buffer.alloc(body.length + 5));
  assert.ok(readFileSync(await get()).equals(body));
});

test('a file with a wrong hash is refused and deleted', async () => {
  index.file('/x.whl', body);
  const digest = hashOf(Buffer.from('something else'));
  assert.match(await messageOf(get(artifact(digest))), `sha256 is ${hashOf(body)}, not ${digest}`);
  assert.equal(readdirSync(folder), []);
  assert.is(index.requests.length, 1, 'a wrong file is not requested again');
});

test('a missing file', async () => {
  assert.match(await messageOf(get()), /answered 404/);
  assert.is(index.requests.length, 1);
});

test('no server', async () => {
  const gone = artifact();
  await index.stop();
  assert.match(await messageOf(get(gone)), /Cannot reach .*ECONNREFUSED/);
  index = await LocalIndex.start();
});

test('a file larger than the free disk space is refused before it is written', async () => {
  index.on('/x.whl', (_, response) => {
    response.writeHead(200, { 'content-length': 1e17 });
    response.write('x');
  });
  assert.match(
    await messageOf(get()),
    /Not enough free space on the disk of .* 100000000\.0 GB required.*FLORENCE2_CACHE/,
  );
});

if (process.platform === 'linux') {
  test('a folder that cannot be created is an error', async () => {
    index.file('/x.whl', body);
    const message = await messageOf(download(http, artifact(), '/proc/florence2/downloads'));
    assert.match(message, /^\/proc\/florence2\/downloads cannot be written: /);
  });
}

test('a local file is verified and not copied', async () => {
  const path = join(folder, 'local.whl');
  writeFileSync(path, body);
  const local = { ...artifact(), url: pathToFileURL(path).href };
  assert.is(await get(local), path);
  assert.match(
    await messageOf(get({ ...local, hash: { algorithm: 'sha256', digest: '00' } })),
    /not the published file/,
  );
  assert.ok(existsSync(path));
});

test.run();
