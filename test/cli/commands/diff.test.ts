import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLora } from '../../../src/adapters/lora.ts';
import { writeAdapter } from '../../../src/adapters/write.ts';
import { loadConfig } from '../../../src/checkpoint/load_config.ts';
import { Florence2Model } from '../../../src/model/florence2_model.ts';
import { openFolder } from '../../../src/platform/node.ts';
import { writeRandomCheckpoint } from '../../../tools/random_checkpoint.ts';
import { withoutLeaks } from '../../leaks.ts';
import { temporaryFolder } from '../../weights/temporary.ts';
import { florence2 } from '../florence2.ts';

const root = temporaryFolder();
const [model, other] = [join(root, 'model'), join(root, 'other')];
await writeRandomCheckpoint(model, { shape: 'tiny', seed: 7 });
await writeRandomCheckpoint(other, { shape: 'tiny', seed: 5 });
const pictures = fileURLToPath(new URL('../../../docs/pictures', import.meta.url));
const street = join(pictures, 'street.jpg');

const diff = (...args: string[]) =>
  withoutLeaks(() => florence2('diff', '-m', model, '-b', 'wasm', '--max-new-tokens', '5', ...args));
const linesOf = (text: string) => text.trimEnd().split('\n');

test('one model on two backends: a line per point, the answer, the totals', async () => {
  const { code, stdout, stderr } = await diff(street, '-t', 'caption', '--b-backend', 'cpu', '--tolerance', '1e-3');
  assert.is(stderr, '');
  assert.is(code, 0, stdout);
  const lines = linesOf(stdout);
  assert.is(lines[0], street);
  assert.match(lines[1], /^ +shape +max abs +relative$/);
  const embed = /\n {2}✓ vision_tower\.convs\.0\.hook_embed +\[1, 32, 32, 32\] +\d\.\de-\d +\d\.\de-\d\n/;
  assert.match(stdout, embed);
  assert.match(
    stdout,
    /\n {2}✓ hook_logits +\[1, 5, \d+\] +\d\.\de-\d +\d\.\de-\d\n {2}A and B: .+\n {2}the token ids of both answers are equal\n/,
  );
  assert.is(lines.at(-3), `A: ${model}, on wasm: WebAssembly with SIMD, one thread`);
  assert.match(lines.at(-2)!, /^B: .*\/model, on cpu: /);
  assert.match(lines.at(-1)!, /^(\d+) of \1 points within 1\.0e-3, 1 of 1 answers equal$/);
  assert.not.match(stdout, /✗|◀/);
});

test('two models: the first different point and the first different token are named', async () => {
  const { code, stdout } = await diff(street, '-t', 'caption', '--b-model', other, '--at', 'vision_tower.convs.*.hook_embed', '--at', 'hook_logits'); // biome-ignore format: one line
  assert.is(code, 0);
  const marked = linesOf(stdout).filter(line => line.includes('◀'));
  assert.is(marked.length, 1);
  assert.match(marked[0], /^ {2}✗ vision_tower\.convs\.0\.hook_embed .* {2}◀ first difference$/);
  assert.match(stdout, /\n {2}A: .*\n {2}B: .*\n {2}token \d+ of the answer is \d+ in A and \d+ in B\n/);
  assert.is(linesOf(stdout).at(-1), '0 of 5 points within 1.0e-3, 0 of 1 answers equal');
});

test('- is the image on standard input', () => {
  const args = ['diff', '-', '-t', 'caption', '-m', model, '--b-model', model, '-b', 'wasm', '--at', 'hook_logits', '--max-new-tokens', '3']; // biome-ignore format: one line
  const input = readFileSync(street);
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', ...args], { input, encoding: 'utf8' }); // biome-ignore format: one line
  assert.is(status, 0, stderr);
  assert.is(linesOf(stdout)[0], '-');
  assert.is(linesOf(stdout).at(-1), '1 of 1 points within 1.0e-3, 1 of 1 answers equal');
});

test('with --tolerance the exit code is 1 if a point differs', async () => {
  const args = [street, '-p', 'What is it?', '--b-model', other, '--at', 'vision_tower.convs.0.hook_embed'];
  assert.is((await diff(...args, '--tolerance', '0.1')).code, 1);
  assert.is((await diff(...args, '--tolerance', '100')).code, 0);
});

test('several images are compared one by one; --json prints one report', async () => {
  const { code, stdout } = await diff(pictures, '-t', 'od', '--b-model', model, '--at', 'hook_logits', '--json');
  assert.is(code, 0);
  const { images, within, a, b, tolerance } = JSON.parse(stdout);
  assert.equal(images.map(({ image }: { image: string }) => image), readdirSync(pictures).sort().map(name => join(pictures, name))); // biome-ignore format: one line
  for (const { rows, sameAnswer, answers } of images) {
    assert.equal(rows.map(({ name, maxAbs }: { name: string; maxAbs: number }) => [name, maxAbs]), [['hook_logits', 0]]); // biome-ignore format: one line
    assert.ok(sameAnswer);
    assert.equal(answers.a, answers.b);
  }
  assert.equal([within, tolerance, a.model, a.ranOn.name, b.ranOn.name], [true, 1e-3, model, 'wasm', 'wasm']);
});

test('run B equals run A except for the --b-… flags; --b-adapter none removes the adapter', async () => {
  const { config } = await loadConfig(openFolder(model));
  const lora = createLora(new Florence2Model(config), { r: 1, targets: ['q_proj'] });
  for (const { b } of lora.layers.values()) b.load(new Float32Array(b.shape[0] * b.shape[1]).fill(0.3));
  const adapter = join(root, 'adapter');
  await writeAdapter(lora, adapter);
  lora.dispose();
  const args = [street, '-t', 'od', '--adapter', adapter, '--at', 'hook_logits', '--json'];
  const same = JSON.parse((await diff(...args, '--b-backend', 'wasm')).stdout);
  assert.equal([same.a.adapter, same.b.adapter], [adapter, adapter]);
  assert.is(same.images[0].rows[0].maxAbs, 0);
  const without = JSON.parse((await diff(...args, '--b-adapter', 'none')).stdout);
  assert.equal([without.a.adapter, without.b.adapter, without.b.model], [adapter, undefined, model]);
  assert.ok(without.images[0].rows[0].maxAbs > 0);
});

for (const [what, args, code, message] of [
  ['two runs that are the same', [street, '-t', 'od'], 2, /Both runs are the same: give --b-model/],
  ['no task', [street, '--b-backend', 'cpu'], 2, /give --task or --prompt/],
  [
    'a tolerance that is not a number',
    [street, '-t', 'od', '--b-model', model, '--tolerance', 'small'],
    2,
    /Expected a number of at least 0/,
  ],
  ['an unknown point', [street, '-t', 'od', '--b-model', model, '--at', 'hook_logit'], 2, /Did you mean hook_logits\?/],
  ['a folder without an adapter', [street, '-t', 'od', '--b-adapter', root], 1, /adapter_config\.json/],
  ['no image', ['none.png', '-t', 'od', '--b-model', model], 1, /none\.png does not exist/],
] as [string, string[], number, RegExp][]) {
  // biome-ignore format: a table
  test(`${what} is an error of one line`, async () => {
    const outcome = await diff(...args);
    assert.is(outcome.code, code);
    assert.is(outcome.stdout, '');
    assert.match(outcome.stderr, message);
    assert.is(linesOf(outcome.stderr).length, 1, outcome.stderr);
  });
}

test.run();
