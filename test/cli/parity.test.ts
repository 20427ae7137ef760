import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { folderWithChange, referenceFolder } from '../internals/reference_folder.ts';
import { reference } from '../reference.ts';
import { florence2 } from './florence2.ts';

/** What is tested is the command: one backend is enough. */
const parity = (...args: string[]) => florence2('parity', ...args, '-b', 'wasm');
const linesOf = (text: string) => text.trimEnd().split('\n');

test('prints a line for each tensor, a line for each generation, and the sum', async () => {
  const { code, stdout, stderr } = await parity(reference('model/tiny-pad'));
  assert.is(stderr, '');
  assert.is(code, 0);
  const lines = linesOf(stdout);
  assert.is(lines[0], 'tiny-pad · hf/model.safetensors');
  assert.match(lines[1], /^ {2}vision\.safetensors +max abs +relative +tolerance$/);
  assert.match(lines[2], /^ {2}✓ vision\.stage0\.conv_embed +\d\.\de-\d+ +\d\.\de-\d+ +1\.0e-4$/);
  assert.ok(lines.includes('tiny-pad · microsoft/model.safetensors'));
  assert.is(lines.filter(line => /^ {2}✓ beam3_return2 +4 of 4 equal {2}scores within \S+ \(1\.5e-4\)$/.test(line)).length, 2); // biome-ignore format: one line
  assert.match(lines.at(-2)!, /^on wasm: /);
  assert.is(lines.at(-1), '214 of 214 tensors, 86 of 86 sequences equal');
  assert.not.match(stdout, /✗|◀/);
});

test('marks the first layer that departs, and exits with 1', async () => {
  const name = 'model.language_model.encoder.layers.0.self_attn.out_proj.bias';
  const folder = await folderWithChange('hf/model.safetensors', name, values => {
    values[0] += 0.01;
  });
  const { code, stdout } = await parity(folder);
  assert.is(code, 1);
  const lines = linesOf(stdout);
  const marked = lines.filter(line => line.includes('◀'));
  assert.is(marked.length, 1);
  assert.match(
    marked[0],
    /^ {2}✗ encoder\.layer0\.self_attn +1\.0e-2 +\S+ +3\.0e-5 {2}◀ the first that departs, at language_model\.encoder\.layers\.0\.hook_attn_out$/,
  );
  assert.match(lines[lines.indexOf(marked[0]) - 1], /^ {2}✓ encoder\.embed /);
  assert.match(lines[lines.indexOf(marked[0]) + 1], /^ {2}✗ encoder\.layer0\.self_attn_norm /);
  assert.match(lines.at(-1)!, /^\d+ of 107 tensors, 0 of 0 sequences equal$/);
});

test('says what it did not compare, and exits with 1', async () => {
  const folder = referenceFolder(({ files }) => {
    files['other.safetensors'] = [{ name: 'gate', shape: [1] }];
    files['train/full/grads.safetensors'] = [{ name: 'w', shape: [1] }];
  });
  const { code, stdout } = await parity(folder);
  assert.is(code, 1);
  assert.match(stdout, '\n✗ not compared: other.safetensors gate (this tool does not know it)\n');
  assert.match(stdout, '\nnot covered by inference: train/full/grads.safetensors\n');
  assert.is(linesOf(stdout).at(-1), '107 of 108 tensors, 0 of 0 sequences equal');
});

test('--json prints one report', async () => {
  const { code, stdout } = await parity(referenceFolder(), '--json');
  assert.is(code, 0);
  const report = JSON.parse(stdout);
  assert.is(report.equal, true);
  assert.equal(report.tensors, { equal: 107, total: 107 });
  const [row] = report.variants[0].checkpoints[0].tensors;
  assert.is(row.name, 'vision.stage0.conv_embed');
  assert.is(row.point, 'vision_tower.convs.0.hook_embed');
  assert.equal(row.shape, [2, 12, 24, 24]);
});

for (const [what, args, code, message] of [
  ['a folder without a manifest', ['/'], 1, /^florence2: .*manifest\.json/],
  ['no folder', [], 2, /missing required argument 'dir'/],
] as [string, string[], number, RegExp][]) {
  test(`${what} is one line`, async () => {
    const outcome = await parity(...args);
    assert.is(outcome.code, code);
    assert.match(outcome.stderr, message);
    assert.is(linesOf(outcome.stderr).length, 1, outcome.stderr);
    assert.is(outcome.stdout, '');
  });
}

test.run();
