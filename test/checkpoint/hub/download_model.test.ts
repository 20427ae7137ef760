import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { openFolder } from '../../../src/platform/node.ts';
import { openCheckpoint } from '../../../src/weights/checkpoint.ts';
import { gitSha1, sha256 } from './hub_server.ts';
import { type HubContext, hubSuite, load, model, refusal, text } from './hub_suite.ts';

const test = hubSuite('hub download');

/** Asserts that the cache has no unfinished file and that each blob has the hash in its name. */
function checkBlobs({ cache, hub }: HubContext, expected?: number): void {
  const folder = join(cache, 'hub', `models--${hub.repo.replace('/', '--')}`, 'blobs');
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch {} // nothing was downloaded
  for (const name of names) {
    const bytes = readFileSync(join(folder, name));
    assert.ok(name === sha256(bytes) || name === gitSha1(bytes), `the blob ${name} is not its content`);
  }
  if (expected !== undefined) assert.is(names.length, expected);
}

test('downloads the files of a model into the Hugging Face cache', async context => {
  const { hub, cache } = context;
  const progress: { file: string; loaded: number; total: number }[] = [];
  const folder = await load(hub.repo, { onProgress: p => progress.push(p) });
  assert.is(folder, join(cache, 'hub', 'models--owner--florence-tiny', 'snapshots', 'a'.repeat(40)));
  assert.equal(readdirSync(folder).sort(), [
    'config.json',
    'generation_config.json',
    'model.safetensors',
    'tokenizer.json',
  ]);
  const file = await openCheckpoint(openFolder(folder));
  assert.ok(file.tensors.size > 100);
  await file.close();
  assert.is(readFileSync(join(folder, '../../refs/main'), 'utf8'), 'a'.repeat(40));
  checkBlobs(context, 4);
  const last = progress.at(-1)!;
  assert.is(last.file, 'model.safetensors', 'weights come last');
  assert.is(last.loaded, last.total);
  assert.ok(
    progress.every((p, i) => i === 0 || p.loaded >= progress[i - 1].loaded),
    'progress never decreases',
  );
  assert.equal([...hub.tokens], [undefined]);

  const contents = () => hub.requests.filter(url => url.includes('/resolve/')).length;
  const once = contents();
  assert.is(await load(hub.repo), folder);
  assert.is(contents(), once, 'nothing is downloaded twice');
});

test('HF_HUB_CACHE takes precedence over HF_HOME', async ({ hub, cache }) => {
  process.env.HF_HUB_CACHE = join(cache, 'elsewhere');
  const folder = await load(hub.repo);
  assert.ok(folder.startsWith(join(cache, 'elsewhere', 'models--owner--florence-tiny')), folder);
});

test('a lost connection is resumed at the same byte', async context => {
  const { hub } = context;
  hub.cut = { path: 'model.safetensors', times: 3, at: 70_000 };
  const folder = await load(hub.repo);
  assert.equal(new Uint8Array(readFileSync(join(folder, 'model.safetensors'))), model);
  assert.is(hub.cut.times, 0);
  checkBlobs(context, 4);
});

test('a lost connection starts again if the server does not support ranges', async context => {
  const { hub } = context;
  hub.cut = { path: 'model.safetensors', times: 2, at: 70_000 };
  hub.ranges = false;
  const folder = await load(hub.repo);
  assert.equal(new Uint8Array(readFileSync(join(folder, 'model.safetensors'))), model);
  checkBlobs(context, 4);
});

for (const ranges of [true, false]) {
  test(`a connection that is always lost leaves a consistent cache (${ranges ? 'with' : 'without'} ranges)`, async context => {
    const { hub, cache } = context;
    hub.ranges = ranges;
    hub.cut = { path: 'model.safetensors', times: Number.POSITIVE_INFINITY, at: ranges ? 0 : 70_000 };
    const message = await refusal(hub.repo);
    assert.match(message, /connection to http:\/\/127.*was cut|cannot be resumed/);
    checkBlobs(context, 3);
    process.env.HF_HUB_OFFLINE = '1';
    assert.match(await refusal(hub.repo), /not in the cache/, 'an incomplete model is not used');
    hub.cut = undefined;
    delete process.env.HF_HUB_OFFLINE;
    await load(hub.repo);
    checkBlobs(context, 4);
    assert.ok(readdirSync(join(cache, 'hub')).length === 1);
  });
}

test('a damaged download is refused and removed', async context => {
  const { hub } = context;
  hub.damaged = bytes => bytes.map(byte => byte ^ 1);
  hub.damagedPath = 'model.safetensors';
  assert.match(
    await refusal(hub.repo),
    /model\.safetensors of owner\/florence-tiny was damaged during the download: its hash is /,
  );
  checkBlobs(context, 3);
  rmSync(join(context.cache, 'hub'), { recursive: true });
  hub.damaged = bytes => new Uint8Array([...bytes, 32]);
  hub.damagedPath = 'config.json';
  assert.match(
    await refusal(hub.repo),
    /config\.json of owner\/florence-tiny is longer than the \d+ bytes of its list/,
  );
  checkBlobs(context, 0);
});

test('unfinished files of killed downloads are removed, those of running ones are not', async ({ hub, cache }) => {
  const blobs = join(cache, 'hub', 'models--owner--florence-tiny', 'blobs');
  mkdirSync(blobs, { recursive: true });
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const [left, running] = [dead, process.pid].map(pid => `${sha256(model)}.${pid}-abc.incomplete`);
  for (const name of [left, running, `unrelated.${dead}-abc.incomplete`]) writeFileSync(join(blobs, name), 'part');
  await load(hub.repo);
  const incomplete = readdirSync(blobs).filter(name => name.endsWith('.incomplete'));
  assert.equal(incomplete.sort(), [running, `unrelated.${dead}-abc.incomplete`].sort());
});

test('requests to a busy hub are retried', async ({ hub }) => {
  hub.busy = { status: 503, times: 2 };
  await load(hub.repo);
  hub.busy = { status: 503, times: 1000 };
  assert.match(await refusal('owner/other'), /answered 503 \(Busy\)/);
});

test('tokens are sent and checked', async ({ hub, cache }) => {
  hub.token = 'hf_right';
  assert.match(await refusal(hub.repo), /answered 401 .*gated or private, or does not exist\. Set HF_TOKEN/);
  process.env.HF_TOKEN = 'hf_wrong';
  assert.match(
    await refusal(hub.repo),
    /answered 401 \(Invalid username or password\): the token in HF_TOKEN is wrong/,
  );
  process.env.HF_TOKEN = 'sec ret';
  const malformed = await refusal(hub.repo);
  assert.match(malformed, /has spaces or characters other than ASCII/);
  assert.not.match(malformed, /sec ret/);
  process.env.HF_TOKEN = 'hf_right';
  await load(hub.repo);
  rmSync(join(cache, 'hub'), { recursive: true });
  delete process.env.HF_TOKEN;
  await load(hub.repo, { token: 'hf_right' });
  rmSync(join(cache, 'hub'), { recursive: true });
  writeFileSync(join(cache, 'token'), 'hf_right\n');
  await load(hub.repo);
  rmSync(join(cache, 'hub'), { recursive: true });
  hub.gated = true;
  assert.match(
    await refusal(hub.repo),
    /answered 403 \(Access to model .* is restricted\): .* A gated model must be accepted on http/,
  );
});

test('missing repositories, revisions and files are refused', async ({ hub }) => {
  assert.match(await refusal(hub.repo, { revision: 'v9' }), /owner\/florence-tiny has no revision "v9"/);
  assert.match(
    await refusal('owner/other'),
    /answered 401 .*does not exist/,
    'the hub does not reveal which private repositories exist',
  );
  hub.token = 'hf_right';
  process.env.HF_TOKEN = 'hf_right';
  assert.match(await refusal('owner/other'), /"owner\/other" is not a folder, and http.* has no model of this name/);
  hub.lost = 'tokenizer.json';
  assert.match(await refusal(hub.repo), /tokenizer\.json answered 404 \(Entry not found\)/);
  delete hub.files['config.json'];
  assert.match(await refusal(hub.repo), /has no config\.json, so it is not a Florence-2 checkpoint/);
  hub.files['config.json'] = text({});
  delete hub.files['model.safetensors'];
  delete hub.files['pytorch_model.bin'];
  assert.match(await refusal(hub.repo), /has no model\.safetensors or pytorch_model\.bin/);
});

test('revisions: a branch, a pull request, a commit', async ({ hub }) => {
  Object.assign(hub.revisions, { v2: 'b'.repeat(40), 'refs/pr/1': 'c'.repeat(40) });
  assert.match(await load(hub.repo, { revision: 'v2' }), /snapshots.b{40}$/);
  assert.match(await load(hub.repo, { revision: 'refs/pr/1' }), /snapshots.c{40}$/);
  assert.match(await load(hub.repo, { revision: 'a'.repeat(40) }), /snapshots.a{40}$/);
  const requests = hub.requests.length;
  assert.match(await load(hub.repo, { revision: 'a'.repeat(40) }), /snapshots.a{40}$/);
  assert.is(hub.requests.length, requests, 'a commit never changes, so no request is sent');
  hub.revisions.v2 = 'd'.repeat(40);
  assert.match(await load(hub.repo, { revision: 'v2' }), /snapshots.d{40}$/);
});

test('offline, only the cache is used', async context => {
  const { hub } = context;
  process.env.HF_HUB_OFFLINE = '1';
  assert.match(await refusal(hub.repo), /is not in the cache .*HF_HUB_OFFLINE/);
  assert.is(hub.requests.length, 0);
  delete process.env.HF_HUB_OFFLINE;
  const folder = await load(hub.repo);
  process.env.HF_HUB_OFFLINE = '1';
  const requests = hub.requests.length;
  assert.is(await load(hub.repo), folder);
  assert.is(await load(hub.repo, { revision: 'a'.repeat(40) }), folder);
  assert.match(await refusal(hub.repo, { revision: 'v2' }), /revision v2 of the hub model is not in the cache/);
  assert.is(hub.requests.length, requests);
});

test('without a connection, the cache is used or the error says that it is missing', async ({ hub }) => {
  const folder = await load(hub.repo);
  await hub.stop();
  assert.is(await load(hub.repo), folder);
  assert.match(await refusal('owner/other'), /http:\/\/127.* cannot be reached: .*ECONNREFUSED/);
});

test('sharded checkpoints: all shards in the index are downloaded', async context => {
  const { hub } = context;
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  delete hub.files['model.safetensors'];
  hub.files['model.safetensors.index.json'] = text({ weight_map: { a: shards[0], b: shards[1] } });
  hub.files[shards[0]] = new Uint8Array(1000).fill(1);
  assert.match(
    await refusal(hub.repo),
    /has no model-00002-of-00002\.safetensors, which its model\.safetensors\.index\.json lists/,
  );
  hub.files[shards[1]] = new Uint8Array(2000).fill(2);
  hub.cut = { path: shards[1], times: Number.POSITIVE_INFINITY, at: 0 };
  await refusal(hub.repo);
  process.env.HF_HUB_OFFLINE = '1';
  assert.match(await refusal(hub.repo), /not in the cache/, 'a shard is missing');
  delete process.env.HF_HUB_OFFLINE;
  hub.cut = undefined;
  const folder = await load(hub.repo);
  assert.is(readdirSync(folder).filter(name => name.startsWith('model')).length, 3);
  checkBlobs(context);
});

test('pytorch_model.bin is downloaded if there are no safetensors', async ({ hub }) => {
  delete hub.files['model.safetensors'];
  assert.ok(readdirSync(await load(hub.repo)).includes('pytorch_model.bin'));
});

test('a malformed revision is refused without a request', async ({ hub }) => {
  assert.match(await refusal(hub.repo, { revision: '../../x' }), /is not a valid revision/);
  assert.is(hub.requests.length, 0);
});

test('of a processor, the weights are not downloaded', async ({ hub }) => {
  const folder = await load(hub.repo, { files: 'processor' });
  assert.equal(readdirSync(folder).sort(), ['config.json', 'tokenizer.json']);
  const whole = await load(hub.repo);
  assert.is(whole, folder);
  assert.ok(readdirSync(folder).includes('model.safetensors'), 'the checkpoint is completed later');
});

test('an adapter is downloaded, and recognised in place of a checkpoint', async ({ hub }) => {
  hub.files = {
    'adapter_config.json': text({ base_model_name_or_path: 'microsoft/Florence-2-base' }),
    'adapter_model.safetensors': model,
    'README.md': text('not needed'),
  };
  assert.is(
    await refusal(hub.repo),
    'owner/florence-tiny is an adapter of microsoft/Florence-2-base: load that model, then the adapter with loadAdapter (--model … --adapter …).',
  );
  const folder = await load(hub.repo, { files: 'adapter' });
  assert.equal(readdirSync(folder).sort(), ['adapter_config.json', 'adapter_model.safetensors']);
  process.env.HF_HUB_OFFLINE = '1';
  assert.is(await load(hub.repo, { files: 'adapter', revision: 'a'.repeat(40) }), folder);
});

test('a checkpoint is not an adapter', async ({ hub }) => {
  assert.match(
    await refusal(hub.repo, { files: 'adapter' }),
    /owner\/florence-tiny has no adapter_model\.safetensors or adapter_model\.bin, so it is not an adapter/,
  );
});

test.run();
