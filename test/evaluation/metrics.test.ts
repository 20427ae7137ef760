import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../../', import.meta.url));

test('the metrics load one small package, and no TensorFlow.js, image library or Node module', async () => {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['src/evaluation/metrics.ts'],
    bundle: true,
    packages: 'external',
    platform: 'browser',
    format: 'esm',
    write: false,
    outdir: 'out',
    metafile: true,
  });
  const loaded = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
  assert.equal([...new Set(loaded)], ['fastest-levenshtein']);
});

test('package.json exports the file', () => {
  const { exports } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  const { types, default: file } = exports['./evaluation'];
  assert.ok(existsSync(root + file.replace('./dist/', 'src/').replace(/js$/, 'ts')));
  assert.is(types, file.replace(/js$/, 'd.ts'));
});

test.run();
