import { spawnSync } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findBuilds } from '../../src/runtime/builds.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { programOf, root } from './commands.ts';

const onTensorflow = findBuilds().length > 0 ? test : test.skip;
onTensorflow('the program about graphs runs as it stands', () => {
  const folder = temporaryFolder();
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  writeFileSync(join(folder, 'program.mts'), programOf('docs/speed.md', 'The network as graphs'));
  const args = ['--import', import.meta.resolve('tsx'), 'program.mts'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  assert.is(status, 0, stdout + stderr);
  assert.match(stdout, /\[ 5, 64 \]/);
});

test.run();
