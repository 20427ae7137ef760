import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bindingPath, compareVersions, findBuilds } from '../../src/runtime/builds.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { manifest, placeBuild } from './setup/fixtures.ts';

test.before.each(() => {
  process.env.FLORENCE2_CACHE = temporaryFolder();
});

const folderOf = (name: string): string => join(process.env.FLORENCE2_CACHE!, 'tensorflow', name);
const place = (name: string, differing: object): void =>
  placeBuild(folderOf(name), JSON.stringify({ ...manifest, ...differing }));

test('no builds without a cache folder', () => assert.equal(findBuilds(), []));

test('the newest TensorFlow comes first', () => {
  for (const tensorflow of ['2.9.1', '2.21.0', '2.20.1']) place(tensorflow, { tensorflow });
  const found = findBuilds().map(({ tensorflow }) => tensorflow);
  assert.equal(found, ['2.21.0', '2.20.1', '2.9.1']);
});

test('unusable and damaged builds are ignored', () => {
  place('layout', { layout: 99 });
  place('platform', { platform: 'plan9' });
  place('arch', { arch: 'mips' });
  place('binding', { tfjsNode: '3.0.0' });
  placeBuild(folderOf('cut'), '{"layout": 1, "tensor');
  placeBuild(folderOf('empty'), '');
  place('no binding', {});
  rmSync(bindingPath(folderOf('no binding')));
  assert.equal(findBuilds(), []);
});

test('release numbers are compared as numbers', () => {
  assert.ok(compareVersions('2.21.0', '2.9.1') > 0);
  assert.ok(compareVersions('2.9', '2.9.1') < 0);
  assert.is(compareVersions('2.9', '2.9.0'), 0);
});

test.run();
