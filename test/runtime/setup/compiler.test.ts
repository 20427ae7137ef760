import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compileAddon, findCompiler } from '../../../src/runtime/setup/compiler.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { fakeCompiler, messageOf } from './fixtures.ts';

test('no compiler: the message lists those tried and how to install one', async () => {
  const message = await messageOf(findCompiler({ PATH: temporaryFolder() }));
  for (const part of [
    'c++ (not found), g++ (not found), clang++ (not found)',
    'apt-get install g++',
    'xcode-select --install',
  ]) {
    assert.match(message, part);
  }
});

test('only CXX is tried if it is set', async () => {
  assert.match(await messageOf(findCompiler({ CXX: '/no/such/compiler' })), '/no/such/compiler (not found)');
  const works = fakeCompiler('exit 0');
  assert.equal(await findCompiler({ CXX: `${works} -m64` }), [works, '-m64']);
});

test('a compiler that fails is not used, and the message has its error', async () => {
  const broken = fakeCompiler("echo 'fatal error: memory: No such file or directory' >&2; exit 1");
  assert.match(await messageOf(findCompiler({ CXX: broken })), 'fatal error: memory: No such file');
});

test('the output of a failed compilation is written to a file', async () => {
  const folder = temporaryFolder();
  const log = join(folder, 'compile.log');
  const broken = fakeCompiler("echo 'note: something'; echo 'x.cc:1:1: error: boom'; echo 'more'; exit 1");
  const addon = { sources: ['x.cc'], output: join(folder, 'x.node'), includes: [] };
  const message = await messageOf(compileAddon([broken], addon, log));
  assert.match(message, 'x.cc:1:1: error: boom');
  assert.match(message, log);
  assert.match(readFileSync(log, 'utf8'), 'note: something');
});

test.run();
