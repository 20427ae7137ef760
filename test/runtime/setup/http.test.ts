import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NetworkError } from '../../../src/files/network.ts';
import { Http } from '../../../src/runtime/setup/http.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { LocalIndex } from './local_index.ts';

let index: LocalIndex;
test.before.each(async () => {
  index = await LocalIndex.start();
  index.page('/page', 'hello');
});
test.after.each(() => index.stop());

/** Starts a local proxy. `targets` are the hosts that it was asked to connect to. */
async function startProxy(): Promise<{ url: string; targets: string[]; stop: () => void }> {
  const targets: string[] = [];
  const proxy = createServer().on('connect', (request, client) => {
    targets.push(request.url!);
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
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, targets, stop };
}

async function read(http: Http): Promise<string> {
  const text = await (await http.get(`${index.url}/page`)).text();
  await http.close();
  return text;
}

test("a package manager's proxy, and the proxy of the environment", async () => {
  const proxy = await startProxy();
  const host = new URL(index.url).host;
  assert.is(await read(new Http({ proxy: proxy.url })), 'hello');
  process.env.http_proxy = proxy.url;
  assert.is(await read(new Http()), 'hello');
  assert.equal(proxy.targets, [host, host]);
  process.env.no_proxy = '127.0.0.1';
  assert.is(await read(new Http()), 'hello');
  assert.is(proxy.targets.length, 2, 'no_proxy is respected');
  delete process.env.http_proxy;
  delete process.env.no_proxy;
  proxy.stop();
});

test('certificate files, missing and existing', async () => {
  assert.throws(() => new Http({ cert: '/no/such.pem' }), /Cannot read the certificate file \/no\/such\.pem/);
  const file = join(temporaryFolder(), 'ca.pem');
  writeFileSync(file, '');
  assert.is(await read(new Http({ cert: file })), 'hello');
});

test('error messages name the URL without its password', async () => {
  const http = new Http();
  const error = await http.get(`${index.url.replace('//', '//me:secret@')}/gone`).catch((error: Error) => error);
  await http.close();
  assert.instance(error, NetworkError);
  assert.is((error as Error).message, `${index.url}/gone answered 404 Not Found.`);
});

test.run();
