import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileAddon, findCompiler, findNodeHeaders } from '../../../src/runtime/setup/compiler.ts';
import { stderrAddon } from '../../../src/runtime/setup/stderr_addon.ts';
import { temporaryFolder } from './temporary.ts';

/** A compiler that does what the shell script says. */
function fakeCompiler(script: string): string {
  const path = join(temporaryFolder(), 'cc');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}
const messageOf = (promise: Promise<unknown>) =>
  promise.then(
    () => assert.unreachable('it should have failed') as never,
    (error: Error) => {
      assert.is(error.name, 'Florence2Error', error.stack);
      return error.message;
    },
  );

test('no compiler: the message says what was tried and how to get one', async () => {
  const message = await messageOf(findCompiler({ PATH: temporaryFolder() }));
  for (const part of [
    'c++ (not found), g++ (not found), clang++ (not found)',
    'apt-get install g++',
    'xcode-select --install',
  ]) {
    assert.match(message, part);
  }
});

test('CXX is taken at its word', async () => {
  assert.match(await messageOf(findCompiler({ CXX: '/no/such/compiler' })), '/no/such/compiler (not found)');
  const works = fakeCompiler('exit 0');
  assert.equal(await findCompiler({ CXX: `${works} -m64` }), [works, '-m64']);
});

test('a compiler that cannot compile does not count, and its reason is told', async () => {
  const broken = fakeCompiler("echo 'fatal error: memory: No such file or directory' >&2; exit 1");
  assert.match(await messageOf(findCompiler({ CXX: broken })), 'fatal error: memory: No such file');
});

test('a failed compilation leaves its output in a file', async () => {
  const folder = temporaryFolder();
  const log = join(folder, 'compile.log');
  const broken = fakeCompiler("echo 'note: something'; echo 'x.cc:1:1: error: boom'; echo 'more'; exit 1");
  const addon = { sources: ['x.cc'], output: join(folder, 'x.node'), includes: [] };
  const message = await messageOf(compileAddon([broken], addon, log));
  assert.match(message, 'x.cc:1:1: error: boom');
  assert.match(message, log);
  assert.match(readFileSync(log, 'utf8'), 'note: something');
});

const compiler = await findCompiler().catch(() => undefined);
const headers = findNodeHeaders();
const real = compiler && headers ? test : test.skip;

real('the addon that silences stderr does, and gives it back', async () => {
  const folder = temporaryFolder();
  const output = join(folder, 'stderr.node');
  writeFileSync(join(folder, 'stderr.cc'), stderrAddon);
  const addon = { sources: [join(folder, 'stderr.cc')], output, includes: [headers!] };
  await compileAddon(compiler!, addon, join(folder, 'log'));
  assert.ok(existsSync(output));
  const script = `const fs = require('fs'), addon = require(${JSON.stringify(output)});
    const say = text => fs.writeSync(2, text);
    say('a'); addon.mute(); addon.mute(); say('b'); addon.unmute(); say('c'); addon.unmute(); say('d');`;
  const said = execFileSync('/bin/sh', ['-c', '"$0" -e "$1" 2>&1', process.execPath, script], { encoding: 'utf8' });
  assert.is(said, 'acd');
});

test.run();
