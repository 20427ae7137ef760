import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bindingPath, compareVersions, findBuilds, type TensorflowBuild } from '../../src/runtime/builds.ts';
import { temporaryFolder } from './setup/temporary.ts';

test.before.each(() => {
  process.env.FLORENCE2_CACHE = temporaryFolder();
});

const good: TensorflowBuild = {
  layout: 5,
  tensorflow: '2.21.0',
  variant: 'cpu',
  tfjsNode: '4.22.0',
  platform: process.platform,
  arch: process.arch,
  sources: [],
  cuda: {},
};

function place(name: string, manifest: unknown, binding = true): void {
  const folder = join(process.env.FLORENCE2_CACHE!, 'tensorflow', name);
  mkdirSync(dirname(bindingPath(folder)), { recursive: true });
  writeFileSync(join(folder, 'manifest.json'), typeof manifest === 'string' ? manifest : JSON.stringify(manifest));
  if (binding) writeFileSync(bindingPath(folder), '');
}

test('no cache, no builds', () => assert.equal(findBuilds(), []));

test('the newest comes first', () => {
  for (const tensorflow of ['2.9.1', '2.21.0', '2.20.1']) place(tensorflow, { ...good, tensorflow });
  const found = findBuilds().map(({ tensorflow }) => tensorflow);
  assert.equal(found, ['2.21.0', '2.20.1', '2.9.1']);
});

test('what this release and this machine cannot use does not count', () => {
  place('layout', { ...good, layout: 99 });
  place('platform', { ...good, platform: 'plan9' });
  place('arch', { ...good, arch: 'mips' });
  place('binding', { ...good, tfjsNode: '3.0.0' });
  place('cut', '{"layout": 1, "tensor');
  place('empty', '');
  place('no binding', good, false);
  assert.equal(findBuilds(), []);
});

test('release numbers are compared as numbers', () => {
  assert.ok(compareVersions('2.21.0', '2.9.1') > 0);
  assert.ok(compareVersions('2.9', '2.9.1') < 0);
  assert.is(compareVersions('2.9', '2.9.0'), 0);
});

test.run();
