import { spawnSync } from 'node:child_process';
import { existsSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../weights/temporary.ts';
import { programOf, root } from './commands.ts';

/** Runs the programs of a section as one, in a folder of its own, which is returned with what they print. */
function runSection(section: string): { folder: string; stdout: string } {
  const { folder, status, stdout, stderr } = tryToRun(section);
  assert.is(status, 0, stdout + stderr);
  return { folder, stdout };
}

function tryToRun(section: string) {
  const program = programOf('docs/internals.md', section);
  assert.ok(program.length > 500, program);
  const folder = temporaryFolder();
  for (const name of ['weights', 'docs', 'node_modules']) symlinkSync(join(root, name), join(folder, name));
  writeFileSync(join(folder, 'program.mts'), program);
  const args = ['--import', import.meta.resolve('tsx'), 'program.mts'];
  return { folder, ...spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' }) };
}

test('the programs about hooks and caches run as they stand', () => {
  const { folder, stdout } = runSection('Hooks and caches');
  assert.match(stdout, /vision_tower\.convs\.0\.hook_embed \[/);
  for (const file of ['patterns.safetensors', 'od.safetensors']) assert.ok(existsSync(join(folder, file)), file);
});

test('the programs about attention run as they stand', () => {
  assert.match(runSection('Attention').stdout, /^<s> looks at \d,\d of \[ \d, \d \] 0\.\d+/m);
});

test('the programs about the logit lens run as they stand', () => {
  assert.match(runSection('Logit lens').stdout, /^embedding \[\n\s+\{ token: \d+, text: /m);
});

test('the programs about interventions run as they stand', () => {
  const { stdout } = runSection('Interventions');
  assert.match(stdout, /^layer 1: Float32Array\(4\)/m);
});

test('the program about saliency runs as it stands, where there are gradients of convolutions', () => {
  const { folder, status, stdout, stderr } = tryToRun('Saliency');
  if (status !== 0) assert.match(stderr, /The wasm backend cannot compute these gradients/);
  else for (const file of ['grad-cam.png', 'integrated.png']) assert.ok(existsSync(join(folder, file)), stdout);
});

test.run();
