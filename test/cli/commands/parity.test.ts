import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { folderWithChange, referenceFolder } from '../../parity/reference_folder.ts';
import { changeTensor, trainingFolder } from '../../parity/training_folder.ts';
import { hasReference, reference } from '../../reference.ts';
import { florence2 } from '../florence2.ts';

/** These tests are about the command, so one backend is enough. */
const parity = (...args: string[]) => florence2('parity', ...args, '-b', 'wasm');
const linesOf = (text: string) => text.trimEnd().split('\n');

test('prints a line per tensor, a line per generation, and the totals', async () => {
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

test('marks the first different layer, and exits with 1', async () => {
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
    /^ {2}✗ encoder\.layer0\.self_attn +1\.0e-2 +\S+ +3\.0e-5 {2}◀ first difference, at language_model\.encoder\.layers\.0\.hook_attn_out$/,
  );
  assert.match(lines[lines.indexOf(marked[0]) - 1], /^ {2}✓ encoder\.embed /);
  assert.match(lines[lines.indexOf(marked[0]) + 1], /^ {2}✗ encoder\.layer0\.self_attn_norm /);
  assert.match(lines.at(-1)!, /^\d+ of 107 tensors, 0 of 0 sequences equal$/);
});

test('lists what was not compared, and exits with 1', async () => {
  const folder = referenceFolder(({ files }) => {
    files['other.safetensors'] = [{ name: 'gate', shape: [1] }];
    files['train/full/grads.safetensors'] = [{ name: 'w', shape: [1] }];
  });
  const { code, stdout } = await parity(folder);
  assert.is(code, 1);
  assert.match(stdout, '\n✗ not compared: other.safetensors gate (unknown to this tool)\n');
  assert.match(stdout, '\nnot compared without --training: train/full/grads.safetensors\n');
  assert.is(linesOf(stdout).at(-1), '107 of 108 tensors, 0 of 0 sequences equal');
});

// The part of the reference in this repository has no trainings.
const withTraining = hasReference('model/tiny/lora') ? test : test.skip;

withTraining('--training prints a line per file and kind of value, what is not counted, and the totals', async () => {
  const folder = trainingFolder(['lora/vision', 'train/padlabels_grads.safetensors']);
  const { code, stdout } = await parity(folder, '--training');
  assert.is(code, 0);
  const lines = linesOf(stdout);
  assert.ok(lines.includes('  lora/vision/expected.safetensors'));
  assert.is(lines.filter(line => /^ {2}✓ logits of (hf|microsoft)\/ +2 of 2 equal {2}within \S+ \(1\.0e-4\)$/.test(line)).length, 2); // biome-ignore format: one line
  const gap = 'it has no gradients of convolutions and embeddings';
  assert.match(
    stdout,
    /\n {2}not counted: train\/padlabels_grads\.safetensors model\.\S+ and 5 more \(wasm cannot train /,
  );
  assert.is(lines.filter(line => line.startsWith('  not counted: ') && line.endsWith(`${gap})`)).length, 3);
  assert.is(lines.at(-1), '0 of 0 tensors, 0 of 0 sequences, 5 of 5 training values equal');
});

withTraining('--training names the different values, and exits with 1', async () => {
  const layer = 'base_model.model.model.vision_tower.convs.0.conv.lora_B.weight';
  const folder = await changeTensor(trainingFolder(['lora/vision']), 'lora/vision/hf/adapter_model.safetensors', layer, values => { values[0] += 0.1; }); // biome-ignore format: one line
  const { code, stdout } = await parity(folder, '--training');
  assert.is(code, 1);
  assert.match(stdout, /\n {2}✗ logits of hf\/ +0 of 2 equal\n {6}logits_adapter: off by \S+ \(1\.0e-4\)\n/);
  assert.is(linesOf(stdout).at(-1), '0 of 0 tensors, 0 of 0 sequences, 3 of 5 training values equal');
  const { training, variants } = JSON.parse((await parity(folder, '--training', '--json')).stdout);
  assert.equal(training, { equal: 3, total: 5 });
  const row = variants[0].checkpoints[0].training.find((row: { equal: boolean }) => !row.equal);
  assert.is(row.name, 'logits_adapter');
  assert.ok(row.difference > row.tolerance);
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
  ['a folder without training', [reference('model/tiny-pad'), '--training'], 1, /has no train\/ or lora\//],
  ['no folder', [], 2, /Missing required argument 'dir'/],
] as [string, string[], number, RegExp][]) {
  test(`${what} is an error of one line`, async () => {
    const outcome = await parity(...args);
    assert.is(outcome.code, code);
    assert.match(outcome.stderr, message);
    assert.is(linesOf(outcome.stderr).length, 1, outcome.stderr);
    assert.is(outcome.stdout, '');
  });
}

test.run();
