import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ERROR_CODES, Florence2Error, UsageError } from '../src/errors.ts';
import { writeWhole } from '../src/files/write.ts';
import { decodeImage } from '../src/image/decode.ts';
import { parseJsonObject } from '../src/json.ts';

test('an error has a code and a cause', () => {
  const cause = new Error('inner');
  for (const [error, code, given] of [
    [new Florence2Error('x'), 'INVALID_DATA', undefined],
    [new UsageError('x'), 'INVALID_ARGUMENT', undefined],
    [new Florence2Error('x', { code: 'NETWORK', cause }), 'NETWORK', cause],
    [new UsageError('x', { code: 'DISPOSED', cause }), 'DISPOSED', cause],
  ] as const) {
    assert.is(error.code, code);
    assert.is(error.cause, given);
    assert.is(error.message, 'x');
  }
  assert.not.ok('cause' in new UsageError('x'), 'no cause');
});

test('the page lists the codes with their meanings', () => {
  const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| (.+) \|$/gm)].map(([, code, meaning]) => [code, meaning]);
  assert.equal(Object.fromEntries(rows), ERROR_CODES);
});

test('errors about files, images and networks have the code and the cause of their kind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'florence2-errors-'));
  const damaged = join(folder, 'a.png');
  const png = await readFile(new URL('../docs/scenes/scene-1.png', import.meta.url));
  await writeFile(damaged, png.subarray(0, 200));
  await writeFile(join(folder, 'text.png'), 'text');
  for (const [call, code, hasCause] of [
    [() => decodeImage(join(folder, 'none.png')), 'FILE_NOT_FOUND', true],
    [() => decodeImage(folder), 'FILE_NOT_READABLE', true],
    [() => decodeImage(damaged), 'INVALID_IMAGE', true],
    [() => decodeImage(join(folder, 'text.png')), 'INVALID_IMAGE', false],
    [() => decodeImage('http://127.0.0.1:1/x.png'), 'NETWORK', true],
    [() => writeWhole(join(damaged, 'x'), png), 'FILE_NOT_WRITABLE', true],
    [async () => parseJsonObject('{', 'config.json'), 'INVALID_DATA', true],
  ] as const) {
    const error = await (call as () => Promise<unknown>)().then(
      () => assert.unreachable(code),
      error => error,
    );
    assert.instance(error, Florence2Error);
    assert.is(error.code, code, error.message);
    assert.is(error.cause instanceof Error, hasCause, error.message);
  }
  await rm(folder, { recursive: true });
});

test.run();
