/** Answers of a hub that are wrong, late, or too long. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as assert from 'uvu/assert';
import { Florence2Error } from '../../../src/errors.ts';
import type { HubServer } from './hub_server.ts';
import { hubSuite, load, model, refusal, text, warningsOf } from './hub_suite.ts';

const test = hubSuite('hub client');

const listing = (entry: object) => JSON.stringify([{ type: 'file', path: 'config.json', size: 2, ...entry }]);

for (const [what, body] of [
  ['an HTML page', '<html>Log in</html>\n<p>to the network</p>'],
  ['a cut answer', '{"sha": "aaaa'],
  ['null', 'null'],
  ['a number', '7'],
  ['an empty answer', ''],
  ['no commit', '{}'],
  ['a commit in a list', `{"sha": ["${'a'.repeat(40)}"]}`],
  ['a list of nulls', '[null]'],
  ['a hash that is a path', listing({ oid: '..' })],
  ['a hash that is an object', listing({ oid: {} })],
  ['a negative size', listing({ oid: 'a'.repeat(40), size: -1 })],
  ['a name that is a number', listing({ oid: 'a'.repeat(40), path: 7 })],
] as const) {
  test(`${what} is refused`, async ({ hub }) => {
    answerApi(hub, body);
    assert.match(
      await refusal(hub.repo),
      /^http:\/\/127\S+ did not answer about owner\/florence-tiny in the form of the Hugging Face hub\.$/,
    );
  });
}

test('an answer in another form is retried, and in the end the cache is used', async ({ hub }) => {
  answerApi(hub, 'null', 2);
  await load(hub.repo);
  answerApi(hub, 'null');
  const [warning, ...others] = await warningsOf(() => load(hub.repo));
  assert.match(warning, /in the form of the Hugging Face hub\. Using the download in \//);
  assert.equal(others, []);
});

/** Lets the API give this answer to the next `times` requests. */
function answerApi(hub: HubServer, body: string, times = Number.POSITIVE_INFINITY): void {
  hub.instead = (url, response) => {
    if (!url.startsWith('/api/') || times-- <= 0) return false;
    response.writeHead(200, { 'content-type': 'application/json' }).end(body);
    return true;
  };
}

test('a pause that the hub asks for is kept, unless it is longer than a minute', async ({ hub }) => {
  hub.busy = { status: 429, times: 1, headers: { 'retry-after': '1' } };
  const start = performance.now();
  await load(hub.repo);
  assert.ok(performance.now() - start > 990, 'the second request came too early');
  hub.busy = { status: 503, times: 9, headers: { 'retry-after': '3600' } };
  assert.match(await refusal('owner/other'), /answered 503 \(Busy\) and may be tried again in 3600 s\.$/);
  assert.is(hub.busy.times, 8, 'one request');
});

test('a silent server is an error after the timeout, before its answer and within a file', async ({ hub }) => {
  hub.instead = (url, response) => {
    if (url.endsWith('/v2')) return true;
    if (!url.endsWith('/model.safetensors')) return false;
    response.writeHead(200, { 'content-length': model.length }).flushHeaders();
    return true;
  };
  const start = performance.now();
  const [silent, cut] = await Promise.all([
    refusal(hub.repo, { timeout: 100, revision: 'v2' }),
    refusal(hub.repo, { timeout: 100 }),
  ]);
  assert.match(silent, /cannot be reached: Headers Timeout Error\.$/);
  assert.match(cut, /was cut: Body Timeout Error\.$/);
  assert.ok(performance.now() - start < 20_000);
});

test('a file longer than listed is stopped', async ({ hub, cache }) => {
  let sent = 0;
  const chunk = new Uint8Array(1 << 20);
  hub.instead = (url, response) => {
    if (!url.endsWith('/config.json')) return false;
    response.writeHead(200);
    const more = (): void => {
      while (!response.destroyed && sent < 1 << 30 && response.write(chunk)) sent += chunk.length;
      if (!response.destroyed) response.once('drain', more);
    };
    more();
    return true;
  };
  assert.match(
    await refusal(hub.repo),
    /config\.json of owner\/florence-tiny is longer than the \d+ bytes of its list\.$/,
  );
  assert.ok(sent < 100 << 20, `${sent} bytes were read`);
  assert.equal(readdirSync(join(cache, 'hub/models--owner--florence-tiny/blobs')), []);
});

test('compressed files and answers that expand without end are stopped', async ({ hub }) => {
  const bomb = gzipSync(new Uint8Array(70 << 20));
  let bombed = /config\.json$/;
  hub.instead = (url, response) => {
    if (!bombed.test(url)) return false;
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end(bomb);
    return true;
  };
  assert.match(await refusal(hub.repo), /is longer than the \d+ bytes of its list\.$/);
  bombed = /^\/api\//;
  assert.match(await refusal(hub.repo), /^The answer of http\S+ is longer than the limit of 67108864 bytes\.$/);
});

test('a small file with other content than listed is refused', async ({ hub }) => {
  hub.damagedPath = 'config.json';
  hub.damaged = bytes => bytes.map(byte => byte ^ 1);
  assert.match(await refusal(hub.repo), /config\.json of owner\/florence-tiny was damaged during the download/);
});

test('a token of any form is sent, and to the hub only', async ({ hub, cache }) => {
  hub.token = 'of-a-mirror';
  process.env.HUGGING_FACE_HUB_TOKEN = 'of-a-mirror';
  await load(hub.repo);
  process.env.HF_TOKEN = 'comes-first';
  assert.match(await refusal(hub.repo, { revision: 'v2' }), /the token in HF_TOKEN is wrong/);
  assert.equal([...hub.tokens], ['Bearer of-a-mirror', 'Bearer comes-first']);
  delete process.env.HF_TOKEN;
  hub.tokens.clear();
  const [, port] = process.env.HF_ENDPOINT!.match(/:(\d+)$/)!;
  hub.instead = (url, response) => {
    if (!url.includes('/tree/')) return false;
    response.writeHead(200, { link: `<http://localhost:${port}/elsewhere>; rel="next"` }).end('[]');
    return true;
  };
  process.env.HF_HUB_CACHE = join(cache, 'other');
  await refusal(hub.repo);
  assert.ok(hub.requests.includes('/elsewhere'));
  assert.equal([...hub.tokens], ['Bearer of-a-mirror', undefined]);
});

test('an aborted signal ends the download, and the next one resumes with what is complete', async ({ hub, cache }) => {
  const reason = new Error('enough');
  const controller = new AbortController();
  hub.instead = (url, response) => {
    if (!url.endsWith('/model.safetensors')) return false;
    response.writeHead(200, { 'content-length': model.length }).write(model.subarray(0, 1000));
    setTimeout(() => controller.abort(reason), 20);
    return true;
  };
  const error = await load(hub.repo, { signal: controller.signal }).catch(error => error);
  assert.is(error, reason);
  const blobs = readdirSync(join(cache, 'hub/models--owner--florence-tiny/blobs'));
  assert.is(blobs.length, 3, 'the small files');
  assert.is(await load(hub.repo, { signal: AbortSignal.abort(reason) }).catch(error => error), reason);
  hub.instead = () => false;
  await load(hub.repo);
});

test('an aborted signal ends the pause before a retry', async ({ hub }) => {
  hub.busy = { status: 503, times: 9 };
  const start = performance.now();
  const signal = AbortSignal.timeout(100);
  const error = await load(hub.repo, { signal, retryDelay: 60_000 }).catch(error => error);
  assert.is(error, signal.reason);
  assert.ok(performance.now() - start < 10_000);
});

test('subfolders of repositories', async ({ hub, cache }) => {
  for (const [path, bytes] of Object.entries(hub.files))
    hub.files[`parts/icon caption/${path}`.replace(' ', '_')] = bytes;
  hub.files['parts/icon_caption/config.json'] = text({ other: true });
  const folder = await load(hub.repo, { subfolder: 'parts/icon_caption' });
  assert.is(folder, join(cache, 'hub/models--owner--florence-tiny/snapshots', 'a'.repeat(40), 'parts/icon_caption'));
  assert.is(readFileSync(join(folder, 'config.json'), 'utf8'), '{"other":true}');
  assert.equal(new Uint8Array(readFileSync(join(folder, 'model.safetensors'))), model);
  assert.match(await refusal(hub.repo, { subfolder: 'none' }), /owner\/florence-tiny has no folder none\.$/);
  const requests = hub.requests.length;
  for (const subfolder of ['../x', 'a/../b', '/etc', '']) {
    assert.match(await refusal(hub.repo, { subfolder }), /subfolder must be a path such as icon_caption/);
  }
  assert.is(hub.requests.length, requests);
});

test('HF_ENDPOINT must be the address of a server', async ({ hub }) => {
  process.env.HF_ENDPOINT = 'huggingface.co';
  assert.match(await refusal(hub.repo), /HF_ENDPOINT is "huggingface\.co", expected the address of a hub/);
  process.env.HF_ENDPOINT = 'http://[';
  const error = await load(hub.repo).catch(error => error);
  assert.instance(error, Florence2Error);
});

test.run();
