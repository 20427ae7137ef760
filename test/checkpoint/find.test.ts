import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findCheckpoint } from '../../src/checkpoint/find.ts';
import { findCheckpoint as findInBrowser } from '../../src/checkpoint/find_browser.ts';
import { Florence2Error } from '../../src/errors.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const shipped = fileURLToPath(new URL('../../weights/demo', import.meta.url));
const folder = temporaryFolder();
mkdirSync(join(folder, 'my model'));
mkdirSync(join(folder, 'demo'));
writeFileSync(join(folder, 'file.txt'), '');

async function refusal(promise: Promise<string>): Promise<string> {
  const error = await promise.then(
    found => assert.unreachable(`found ${found}`),
    reason => reason,
  );
  assert.instance(error, Florence2Error);
  return error.message;
}

test('demo is the shipped checkpoint, even next to a folder of that name', async () => {
  const before = process.cwd();
  process.chdir(folder);
  try {
    assert.is(await findCheckpoint('demo'), shipped);
    assert.is(await findCheckpoint('./demo'), join(process.cwd(), 'demo'));
  } finally {
    process.chdir(before);
  }
});

test('folders are found by path', async () => {
  assert.is(await findCheckpoint(join(folder, 'my model')), join(folder, 'my model'));
});

for (const name of ['florence', './nothing', '../a/b', 'a/b/c', 'C:\\models\\x', 'two words', '', 'a/..']) {
  test(`"${name}" is refused without a request to the hub`, async () => {
    const message = await refusal(findCheckpoint(name));
    assert.ok(message.startsWith(`"${name}" is not a folder.`), message);
    assert.match(message, /microsoft\/Florence-2-base, or "demo"/);
  });
}

test('a mistyped demo is an error that names it', async () => {
  assert.is(await refusal(findCheckpoint('dmeo')), 'There is no model "dmeo". Did you mean "demo"?');
});

test('a subfolder is below the folder, or below the URL', async () => {
  assert.is(
    await findCheckpoint(folder, { subfolder: 'my model' }).catch(error => error.message),
    'subfolder must be a path such as icon_caption, not "my model".',
  );
  assert.is(await findCheckpoint(folder, { subfolder: 'a/b' }), join(folder, 'a', 'b'));
  assert.is(await findInBrowser('o/m', { subfolder: 'a/b' }), 'https://huggingface.co/o/m/resolve/main/a/b');
});

test('a file is refused', async () => {
  assert.match(await refusal(findCheckpoint(join(folder, 'file.txt'))), /file\.txt is a file: give the folder/);
});

test('browsers read checkpoints from URLs', async () => {
  assert.is(await findInBrowser('https://example.org/model'), 'https://example.org/model');
  assert.is(await findInBrowser('./model'), './model');
  assert.is(
    await findInBrowser('microsoft/Florence-2-base', { revision: 'refs/pr/1' }),
    'https://huggingface.co/microsoft/Florence-2-base/resolve/refs/pr/1',
  );
  assert.match(await refusal(findInBrowser('dmeo')), /neither a URL nor a hub id/);
});

test.run();
