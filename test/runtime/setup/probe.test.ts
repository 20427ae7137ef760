import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bindingPath, buildFolder } from '../../../src/runtime/builds.ts';
import { compileAddon, findCompiler, findNodeHeaders } from '../../../src/runtime/setup/compiler.ts';
import { probeBackend } from '../../../src/runtime/setup/probe.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { placeBuild } from './fixtures.ts';

test('a backend that works', async () => {
  const probe = await probeBackend('cpu');
  assert.ok(probe.works, probe.description);
  assert.is(probe.name, 'cpu');
  assert.ok(probe.seconds > 0);
});

test('a backend that is not set up', async () => {
  const probe = await probeBackend('tensorflow', { FLORENCE2_CACHE: temporaryFolder() });
  assert.not.ok(probe.works);
  assert.is(probe.description, 'TensorFlow is not set up: run "florence2 setup tensorflow".');
});

test('a process that exceeds the time limit', async () => {
  const probe = await probeBackend('cpu', {}, 10);
  assert.not.ok(probe.works);
  assert.match(probe.description, 'no answer after 0.01 s');
});

const compiler = await findCompiler().catch(() => undefined);
const headers = findNodeHeaders();
const withCompiler = compiler && headers ? test : test.skip;

withCompiler('a binding that crashes the process', async () => {
  process.env.FLORENCE2_CACHE = temporaryFolder();
  const folder = buildFolder('2.21.0', 'cpu');
  const source = join(process.env.FLORENCE2_CACHE, 'crash.cc');
  placeBuild(folder);
  writeFileSync(
    source,
    '#include <cstdlib>\n#include <node_api.h>\nNAPI_MODULE_INIT() { (void)env; (void)exports; abort(); }\n',
  );
  for (const name of ['tfjs_binding.node', 'stderr.node']) {
    const output = join(dirname(bindingPath(folder)), name);
    await compileAddon(compiler!, { sources: [source], output, includes: [headers!] }, join(folder, 'log'));
  }
  const probe = await probeBackend('tensorflow');
  assert.not.ok(probe.works);
  assert.match(probe.description, 'the process died (SIGABRT)');
});

test.run();
