/** Caches that other programs filled in part, or that are damaged. */
import { mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { gitSha1 } from './hub_server.ts';
import { type HubContext, hubSuite, load, model, refusal, warningsOf } from './hub_suite.ts';

const test = hubSuite('hub cache');

const commit = 'a'.repeat(40);
const repository = ({ cache }: HubContext) => join(cache, 'hub/models--owner--florence-tiny');
const snapshot = (context: HubContext) => join(repository(context), 'snapshots', commit);
const contents = ({ hub }: HubContext) => hub.requests.filter(url => url.includes('/resolve/'));

test('a snapshot that another program filled in part is completed file by file', async context => {
  const { hub } = context;
  mkdirSync(snapshot(context), { recursive: true });
  for (const name of ['config.json', 'generation_config.json', 'model.safetensors']) {
    writeFileSync(join(snapshot(context), name), hub.files[name]);
  }
  process.env.HF_HUB_OFFLINE = '1';
  assert.match(
    await refusal(hub.repo, { revision: commit }),
    /"owner\/florence-tiny" is incomplete in the cache .*: tokenizer\.json of revision a{40} is missing or damaged; HF_HUB_OFFLINE forbids/,
  );
  assert.equal(hub.requests, []);
  delete process.env.HF_HUB_OFFLINE;
  assert.is(await load(hub.repo, { revision: commit }), snapshot(context));
  assert.equal(contents(context), [`/owner/florence-tiny/resolve/${commit}/tokenizer.json`]);
  assert.equal(readFileSync(join(snapshot(context), 'tokenizer.json')), Buffer.from(hub.files['tokenizer.json']));
  const requests = hub.requests.length;
  await load(hub.repo, { revision: commit });
  assert.is(hub.requests.length, requests, 'it is complete now, so no request is sent');
  const absent = readdirSync(join(repository(context), '.no_exist', commit));
  assert.ok(absent.includes('preprocessor_config.json') && !absent.includes('tokenizer.json'), absent.join());
});

if (process.platform === 'linux') {
  test('a cache that cannot be created is an error', async ({ hub }) => {
    process.env.HF_HOME = '/proc/florence2';
    const path = /^\/proc\/florence2\/hub\/models--owner--florence-tiny\/\S+ cannot be written: /;
    assert.match(await refusal(hub.repo), path);
  });
}

test('a cache that is complete but for optional files is used when the hub is gone', async context => {
  const { hub } = context;
  const folder = await load(hub.repo);
  rmSync(join(repository(context), '.no_exist'), { recursive: true });
  await hub.stop();
  const [warning] = await warningsOf(async () => assert.is(await load(hub.repo, { revision: commit }), folder));
  assert.match(warning, /cannot be reached: .* Using the download in \//);
});

test('a model that the hub now refuses is used from the cache, with a warning', async context => {
  const { hub } = context;
  const folder = await load(hub.repo);
  hub.gated = true;
  const warnings = await warningsOf(async () => assert.is(await load(hub.repo), folder));
  assert.is(warnings.length, 1);
  assert.match(warnings[0], /answered 403 .* is gated .* Using the download in \//);
  rmSync(join(folder, 'tokenizer.json'));
  assert.match(await refusal(hub.repo), /answered 403/, 'an incomplete cache does not hide the error');
});

for (const [name, length] of [
  ['tokenizer.json', 3],
  ['model.safetensors', model.length - 1],
  ['model.safetensors', 0],
] as const) {
  test(`${name} cut to ${length} bytes is noticed, and downloaded again`, async context => {
    const { hub } = context;
    const folder = await load(hub.repo);
    truncateSync(realpathSync(join(folder, name)), length);
    process.env.HF_HUB_OFFLINE = '1';
    const what = name === 'tokenizer.json' ? 'tokenizer.json of' : 'the weights of';
    assert.match(
      await refusal(hub.repo),
      new RegExp(`incomplete in the cache .*: ${what} revision main is missing or damaged`),
    );
    delete process.env.HF_HUB_OFFLINE;
    await load(hub.repo);
    assert.equal(new Uint8Array(readFileSync(join(folder, name))), hub.files[name]);
    assert.is(contents(context).filter(url => url.endsWith(name)).length, 2);
  });
}

test('a damaged small file is noticed by its hash', async context => {
  const { hub } = context;
  const folder = await load(hub.repo);
  const path = realpathSync(join(folder, 'generation_config.json'));
  writeFileSync(path, readFileSync(path, 'utf8').replace('3', '4'));
  await load(hub.repo);
  const bytes = readFileSync(path);
  assert.is(gitSha1(bytes), gitSha1(hub.files['generation_config.json']));
});

test('refs are replaced as a whole', async context => {
  const { hub } = context;
  await load(hub.repo);
  const refs = join(repository(context), 'refs');
  rmSync(refs, { recursive: true });
  await load(hub.repo);
  assert.equal(readdirSync(refs), ['main']);
  assert.is(readFileSync(join(refs, 'main'), 'utf8'), commit);
});

test.run();
