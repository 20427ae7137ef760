import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UrlFolder } from '../../src/files/url_folder.ts';

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

/** Serves one file with range requests, one without, and an error. All other files are missing. */
const server = createServer((request, response) => {
  const range = request.headers.range?.match(/^bytes=(\d+)-(\d+)$/);
  if (request.url === '/model/broken') response.writeHead(503).end();
  else if (request.url === '/model/whole') response.end(bytes);
  else if (request.url !== '/model/data') response.writeHead(404).end();
  else if (!range) response.end(bytes);
  else {
    const [start, end] = [Number(range[1]), Number(range[2])];
    response.writeHead(206, { 'content-range': `bytes ${start}-${end}/${bytes.length}` });
    response.end(bytes.subarray(start, end + 1));
  }
});
await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model`;

const refusal = (promise: Promise<unknown>): Promise<string> => promise.then(String, error => error.message);

for (const path of [base, `${base}/`]) {
  test(`reads files below ${path.replace(base, 'URL')}`, async () => {
    const folder = new UrlFolder(path);
    assert.is(folder.pathOf('data'), `${base}/data`);
    assert.equal(await folder.read('data'), bytes);
    assert.is(await folder.read('missing'), undefined);
    assert.is(await folder.open('missing'), undefined);
    assert.match(await refusal(folder.read('broken')), /broken cannot be read: the server answered 503/);
  });
}

test('positioned reads', async () => {
  const source = (await new UrlFolder(base).open('data'))!;
  assert.is(source.size, bytes.length);
  const target = new Uint8Array(100);
  await source.read(target, 850, 'the middle');
  assert.equal(target, bytes.slice(850, 950));
  await source.read(new Uint8Array(0), 1000, 'nothing');
  assert.match(await refusal(source.read(target, 901, 'the end')), /ends at byte 1000, within the end/);
  assert.match(await refusal(new UrlFolder(base).open('whole')), /does not support range requests/);
});

test('errors name the URL', async () => {
  assert.match(await refusal(new UrlFolder(base).write('data')), /data cannot be written: it is a URL/);
  const closed = new UrlFolder('http://127.0.0.1:1/model');
  assert.match(await refusal(closed.read('data')), /^http:\/\/127\.0\.0\.1:1\/model\/data cannot be read: /);
});

test.after(() => {
  server.close();
  server.closeAllConnections();
});

test.run();
