/** The studies run, shortened, and find what docs/studies.md reports. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../weights/temporary.ts';
import { root } from './pages.ts';

const folder = temporaryFolder();

function run(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script, ...args], { cwd: root, encoding: 'utf8' }); // biome-ignore format: one line
  assert.is(status, 0, stdout + stderr);
  return stdout;
}

for (const study of ['box_heads', 'colour_patches', 'fine_tuning', 'transfer']) {
  test(`${study} is a page long`, () => {
    const lines = readFileSync(join(root, 'docs/studies', `${study}.ts`), 'utf8')
      .trimEnd()
      .split('\n');
    assert.ok(lines.length < 80, `${lines.length} lines`);
  });
}

test('one head carries the places, another one the words', () => {
  const stdout = run('docs/studies/box_heads.ts', '4', folder);
  const [places, words] = stdout
    .split(/^Nats.*\n/m)
    .slice(1)
    .map(table => {
      const rows = table.trim().split('\n').map(line => line.trim().split(/\s+/).slice(2).map(Number)); // biome-ignore format: one line
      const values = rows.flat();
      return { strongest: values.indexOf(Math.max(...values)), values };
    });
  assert.is.not(places.strongest, words.strongest);
  assert.ok(places.values[places.strongest] > 0.1 && words.values[words.strongest] > 0.05, stdout);
  assert.ok(existsSync(join(folder, 'box_heads.svg')));
});

test('colours come from the object itself', () => {
  const stdout = run('docs/studies/colour_patches.ts', '2', folder);
  const sums = [...stdout.matchAll(/restore (-?[\d.]+), all cells (-?[\d.]+)/g)].map(([, own, all]) => [
    Number(own),
    Number(all),
  ]);
  assert.is(sums.length, 4, stdout);
  for (const [own, all] of sums) assert.ok(own > 0.3 && own > 0.8 * all, stdout);
  assert.ok(existsSync(join(folder, 'colour_patches.png')));
});

test('what an adapter changed is shown, with a heart and without', () => {
  const hearts = join(folder, 'hearts');
  const adapter = join(folder, 'adapter');
  run('tools/new_shape.ts', hearts, '--train', '3', '--valid', '1', '--test', '1', '--replay', '1');
  const options = ['-m', 'weights/demo', '-d', hearts, '-o', adapter, '--lora', '--max-steps', '2'];
  run('src/cli/main.ts', 'train', ...options, '--validate-examples', '1');
  const stdout = run('docs/studies/fine_tuning.ts', hearts, join(adapter, 'latest'), '1', folder);
  const decoder = stdout.split('Change in the decoder')[1];
  assert.match(decoder, /layer 0 +0\.\d+ +0\.\d+\n +layer 1 +0\.\d+ +0\.\d+\n +layer 2 +0\.\d+ +0\.\d+/);
  assert.ok(existsSync(join(folder, 'fine_tuning.svg')));
});

test('all tasks are measured, from the demo checkpoint and from random weights', () => {
  const stdout = run('docs/studies/transfer.ts', '<OD>', '4', '2', '4', folder);
  const [hearts, known] = stdout.split('Scenes of known shapes').map(table => {
    const rows = [...table.matchAll(/^ +([a-z-]+)((?: +[\d.]+){4})$/gm)];
    return Object.fromEntries(rows.map(([, task, values]) => [task, values.trim().split(/ +/).map(Number)]));
  });
  assert.equal([hearts, known].map(table => Object.keys(table).length), [12, 15], stdout); // biome-ignore format: one line
  const [demo, , random] = known.od;
  assert.ok(demo > 0.5 && random === 0, stdout);
  assert.is(hearts.caption[0], 0, 'the demo checkpoint has never seen a heart');
  assert.ok(existsSync(join(folder, 'transfer.svg')));
});

test.run();
