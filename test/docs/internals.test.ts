import { spawnSync } from 'node:child_process';
import { existsSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../weights/temporary.ts';
import { programOf, root } from './commands.ts';

test('the programs about hooks and caches run as they stand', () => {
  const program = programOf('docs/internals.md', 'Hooks and caches');
  assert.ok(program.length > 2000, program);
  const folder = temporaryFolder();
  for (const name of ['weights', 'docs', 'node_modules']) symlinkSync(join(root, name), join(folder, name));
  writeFileSync(join(folder, 'program.mts'), program);
  const args = ['--import', import.meta.resolve('tsx'), 'program.mts'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });
  assert.is(status, 0, stdout + stderr);
  assert.match(stdout, /vision_tower\.convs\.0\.hook_embed \[/);
  for (const file of ['patterns.safetensors', 'od.safetensors']) assert.ok(existsSync(join(folder, file)), file);
});

test.run();
