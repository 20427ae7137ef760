import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Florence2 } from '../../src/florence2.ts';
import { testBackend } from '../backend.ts';
import { tinyCheckpoint } from '../tiny_checkpoint.ts';
import { refuses } from '../weights/temporary.ts';

interface Json {
  vision_config: { window_size: number };
  added_tokens: object[];
}

/** Returns a checkpoint with a JSON file changed. */
async function changed(file: string, edit: (json: Json) => void): Promise<string> {
  const folder = await tinyCheckpoint();
  const path = join(folder, file);
  const json = JSON.parse(readFileSync(path, 'utf8')) as Json;
  edit(json);
  writeFileSync(path, JSON.stringify(json));
  return folder;
}

const load = (folder: string, signal?: AbortSignal) => Florence2.load(folder, { backend: testBackend, signal });

test('a window larger than the map is refused', async () => {
  const folder = await changed('config.json', json => {
    json.vision_config.window_size = 100_000;
  });
  const problem =
    /^vision_config\.window_size is 100000, larger than the largest map of an image of \d+×\d+, which is \d+×\d+\.$/;
  await refuses('window', () => load(folder), 'window_size', problem);
});

test('a tokenizer with ids beyond the embedding table is refused', async () => {
  const folder = await changed('tokenizer.json', json => {
    json.added_tokens.push({ id: 99_999, content: '<far>', special: true });
  });
  await refuses(
    'ids',
    () => load(folder),
    folder,
    /has the token "<far>" with id 99999, but the embedding table of config\.json has \d+ rows\.$/,
  );
});

test('an aborted signal ends loading with its reason', async () => {
  const folder = await tinyCheckpoint();
  const reason = new Error('enough');
  assert.is(await load(folder, AbortSignal.abort(reason)).catch(error => error), reason);
  const controller = new AbortController();
  const onProgress = () => controller.abort(reason);
  const options = { backend: testBackend, signal: controller.signal, onProgress };
  assert.is(await Florence2.load(folder, options).catch(error => error), reason);
});

test.run();
