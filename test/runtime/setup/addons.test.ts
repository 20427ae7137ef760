import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stderrAddon } from '../../../src/runtime/setup/addons.ts';
import { compileAddon, findCompiler, findNodeHeaders } from '../../../src/runtime/setup/compiler.ts';
import { temporaryFolder } from '../../weights/temporary.ts';

const compiler = await findCompiler().catch(() => undefined);
const headers = findNodeHeaders();
const real = compiler && headers ? test : test.skip;

real('stderr.node mutes stderr and restores it', async () => {
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
