import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Http, NetworkError, withRetries } from '../../../src/runtime/setup/http.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { LocalIndex } from './local_index.ts';

let index: LocalIndex;
test.before.each(async () => {
  index = await LocalIndex.start();
  index.page('/page', 'hello');
});
test.after.each(() => index.stop());

/** A proxy on this machine, and what was asked of it. */
async function startProxy(): Promise<{ url: string; asked: string[]; stop: () => void }> {
  const asked: string[] = [];
  const proxy = createServer().on('connect', (request, client) => {
    asked.push(request.url!);
    const [host, port] = request.url!.split(':');
    const target = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      target.pipe(client).pipe(target);
    });
    target.on('error', () => client.destroy());
    client.on('error', () => target.destroy());
  });
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve));
  const stop = () => {
    proxy.closeAllConnections();
    proxy.close();
  };
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, asked, stop };
}

async function read(http: Http): Promise<string> {
  const text = await (await http.get(`${index.url}/page`)).text();
  await http.close();
  return text;
}

test("a package manager's own proxy, and one of the environment", async () => {
  const proxy = await startProxy();
  const host = new URL(index.url).host;
  assert.is(await read(new Http({ proxy: proxy.url })), 'hello');
  process.env.http_proxy = proxy.url;
  assert.is(await read(new Http()), 'hello');
  assert.equal(proxy.asked, [host, host]);
  process.env.no_proxy = '127.0.0.1';
  assert.is(await read(new Http()), 'hello');
  assert.is(proxy.asked.length, 2, 'no_proxy is respected');
  delete process.env.http_proxy;
  delete process.env.no_proxy;
  proxy.stop();
});

test('certificates that cannot be read, and some that can', async () => {
  assert.throws(() => new Http({ cert: '/no/such.pem' }), /Certificate file \/no\/such\.pem cannot be read/);
  const file = join(temporaryFolder(), 'ca.pem');
  writeFileSync(file, '');
  assert.is(await read(new Http({ cert: file })), 'hello');
});

test('errors name the address without its password', async () => {
  const http = new Http();
  const error = await http.get(`${index.url.replace('//', '//me:secret@')}/gone`).catch((error: Error) => error);
  await http.close();
  assert.instance(error, NetworkError);
  assert.is((error as Error).message, `${index.url}/gone answered 404 Not Found.`);
});

test('only what may pass is tried again, five times at most', async () => {
  for (const [retry, expected] of [
    [true, 5],
    [false, 1],
  ] as const) {
    let tries = 0;
    const attempt = async () => {
      tries++;
      throw new NetworkError('no', retry);
    };
    await withRetries(attempt, 1).catch(() => {});
    assert.is(tries, expected);
  }
});

test.run();
