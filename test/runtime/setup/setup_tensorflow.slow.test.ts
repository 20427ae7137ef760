import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readBuild } from '../../../src/runtime/builds.ts';
import { findCompiler } from '../../../src/runtime/setup/compiler.ts';
import { Http } from '../../../src/runtime/setup/http.ts';
import { readPipConfig } from '../../../src/runtime/setup/pip_config.ts';
import { setupTensorflow } from '../../../src/runtime/setup/setup_tensorflow.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

/** A real setup requires a compiler and the package index. It downloads 270 MB. */
async function canRun(): Promise<boolean> {
  const pip = readPipConfig();
  const http = new Http(pip);
  try {
    await Promise.all([
      findCompiler(),
      http.get(`${pip.indexes[0]}/tensorflow-cpu/`).then(page => page.body?.cancel()),
    ]);
    return true;
  } catch {
    return false;
  } finally {
    await http.close();
  }
}

const real = (await canRun()) ? test : test.skip;

real('TensorFlow is set up, runs, and is reused', async () => {
  const cache = temporaryFolder();
  process.env.FLORENCE2_CACHE = cache;
  const stages = new Set<string>();
  const first = await setupTensorflow({ onProgress: ({ stage }) => stages.add(stage) });
  assert.not.ok(first.reused);
  assert.is(first.description, 'TensorFlow 2.21.0 (CPU)');
  assert.equal([...stages], ['download', 'unpack', 'compile', 'check']);
  assert.equal(readdirSync(cache), ['tensorflow'], 'no downloads, lock or unfinished build is left');
  const build = readBuild(first.folder)!;
  assert.is(build.tensorflow, '2.21.0');
  assert.match(build.sources[0]!.hash, /^sha256:[0-9a-f]{64}$/);
  assert.not.ok(existsSync(join(first.folder, 'headers')));

  const second = await setupTensorflow({ onProgress: ({ stage }) => assert.is(stage, 'check') });
  assert.equal(second, { ...first, reused: true });
});

test.run();
