/** Tests that the network is equal to PyTorch's, and that the comparison notices mistakes. */
import { cpSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type HookFn, HookRegistry } from '../../src/hooks/hooks.ts';
import { checkParity } from '../../src/parity/check.ts';
import type { ParityReport, TensorRow } from '../../src/parity/report.ts';
import { tensorTolerance } from '../../src/parity/tolerance.ts';
import { testBackend as backend, withoutLeaks } from '../backend.ts';
import { reference, referenceJson, wholeReference } from '../reference.ts';
import { refuses } from '../weights/temporary.ts';
import { folderOf, folderWithChange, type ManifestJson, manifestText, referenceFolder } from './reference_folder.ts';

const check = (folder: string, hooks?: HookRegistry): Promise<ParityReport> =>
  withoutLeaks(() => checkParity(folder, { backend, ...(hooks && { hooks }) }));
const rowsOf = (report: ParityReport): TensorRow[] =>
  report.variants.flatMap(({ checkpoints }) => checkpoints.flatMap(({ tensors }) => tensors));

/** The numbers of tensors and sequences to compare, counted in the manifests and generation.json by hand. */
const variants: [name: string, folder: () => string, tensors: number, sequences: number][] = [];
if (backend === 'webgpu') {
  // A software GPU needs an hour for everything. The other tensors are in check.slow.test.ts.
  const some = () => folderWithGenerations('greedy_florence', 'beam3_return2', 'beam3_single');
  variants.push(['tiny-pad', some, 107, 2 + 4 + 1]);
} else {
  variants.push(['tiny-pad', () => reference('model/tiny-pad'), 2 * 107, 2 * 43]);
  if (wholeReference) {
    variants.push(['tiny', () => reference('model/tiny'), 102 + 103 + 2, 2 * 43]);
    variants.push(['tiny-large', () => reference('model/tiny-large'), 102 + 99, 61 + 3]);
  }
}
for (const [variant, folder, tensors, sequences] of variants) {
  test(`${variant} is equal to PyTorch`, async () => {
    const report = await check(folder());
    const out = rowsOf(report).filter(row => !row.equal);
    assert.equal(out.map(({ file, name, maxAbs, tolerance }) => `${file} ${name}: ${maxAbs} > ${tolerance}`), []); // biome-ignore format: one line
    const generated = report.variants[0].checkpoints.flatMap(checkpoint => checkpoint.sequences);
    const wrong = generated.filter(row => !row.equal);
    assert.equal(wrong.map(row => `${row.case} ${row.index}: ${row.got}, score off by ${row.scoreError}`), []); // biome-ignore format: one line
    assert.equal(report.variants[0].notCompared, []);
    assert.equal(report.tensors, { equal: tensors, total: tensors });
    assert.equal(report.sequences, { equal: sequences, total: sequences });
    assert.ok(report.equal);
  });
}

/** Returns a folder of tiny-pad's native checkpoint with some of its generations. */
function folderWithGenerations(...names: string[]): string {
  const folder = referenceFolder();
  const { cases } = referenceJson('model/tiny-pad/generation.json');
  const chosen = Object.fromEntries(names.map(name => [name, cases[name]]));
  writeFileSync(join(folder, 'generation.json'), JSON.stringify({ cases: chosen }));
  return folder;
}

/** The comparison itself does not depend on the backend, so it is not tested on the slowest one. */
const tool = backend === 'webgpu' ? test.skip : test;

/** A mistake in the network, simulated by hooks, and the first tensor that must differ. */
type Mistake = [what: string, first: string, hooks: [point: string, fn: HookFn][]];
const block = 'vision_tower.blocks.1.0';
let projected: tf.Tensor;
const mistakes: Mistake[] = [
  [
    'rows and columns of the position embedding swapped',
    'projector.pos_embed',
    [['multi_modal_projector.hook_pos_embed', map => (isSquare(map) ? tf.transpose(map, [1, 0, 2]) : undefined)]],
  ],
  [
    'channel attention scaled by the width of its groups', // 24 channels in 3 groups, 12×12 positions
    'vision.stage1.block0.channel.attn',
    [[`${block}.channel_block.channel_attn.hook_attn_scores`, scores => tf.mul(scores, Math.sqrt(144 / 8))]],
  ],
  [
    'an epsilon of 1e-6 in the norm of the image features',
    'projector.image_features',
    [
      // (x − mean) / √(var + eps) · w + b, rescaled from eps = 1e-5 to 1e-6. That b is rescaled too does not matter.
      [
        'multi_modal_projector.hook_projected',
        x => {
          projected = tf.keep(tf.clone(x));
        },
      ],
      [
        'multi_modal_projector.hook_image_features',
        features => {
          const { variance } = tf.moments(projected, -1, true);
          const grown = tf.mul(features, tf.sqrt(tf.div(tf.add(variance, 1e-5), tf.add(variance, 1e-6))));
          projected.dispose();
          return grown;
        },
      ],
    ],
  ],
  [
    'a missing head of cross-attention',
    'decoder.layer1.cross_attn',
    [['language_model.decoder.layers.1.encoder_attn.hook_z', z => tf.mul(z, headMask(z, 2))]],
  ],
  [
    'a single NaN',
    'vision.stage2.conv_embed',
    [
      [
        'vision_tower.convs.2.hook_embed',
        x => tf.where(tf.greaterEqual(x, tf.max(x)), tf.fill(x.shape, Number.NaN), x),
      ],
    ],
  ],
  ['logits off by one part in a thousand', 'logits', [['hook_logits', logits => tf.mul(logits, 1.001)]]],
];

const isSquare = (map: tf.Tensor) => map.shape[0] === map.shape[1];

/** Returns 0 for one head of z [B, heads, T, d] and 1 for the others -> [1, heads, 1, 1] */
function headMask(z: tf.Tensor, head: number): tf.Tensor {
  const mask = Array.from({ length: z.shape[1]! }, (_, i) => Number(i !== head));
  return tf.tensor(mask, [1, mask.length, 1, 1]);
}

for (const [what, first, points] of mistakes) {
  tool(`finds ${what}`, async () => {
    const hooks = new HookRegistry();
    for (const [point, fn] of points) hooks.add(point, fn);
    const report = await check(referenceFolder(), hooks);
    const marked = rowsOf(report).filter(row => row.firstDeparture);
    assert.equal(marked.map(row => row.name), [first]); // biome-ignore format: one line
    assert.not.ok(report.equal);
    assert.ok(report.tensors.equal < report.tensors.total);
    if (what.includes('NaN')) assert.is(marked[0].problem, 'is not finite');
  });
}

tool('finds one wrong weight, and its layer', async () => {
  const name = 'model.vision_tower.blocks.1.1.channel_block.channel_attn.qkv.weight';
  const folder = await folderWithChange('hf/model.safetensors', name, values => {
    values[7] += 0.05;
  });
  const report = await check(folder);
  const [row] = rowsOf(report).filter(({ firstDeparture }) => firstDeparture);
  assert.is(row.name, 'vision.stage1.block1.channel.attn');
  assert.is(row.point, 'vision_tower.blocks.1.1.channel_block.hook_attn_out');
  assert.ok(row.maxAbs > row.tolerance && row.relative > 0);
});

tool('finds a mistake that occurs only in generation', async () => {
  const source = reference('model/tiny-pad');
  const folder = referenceFolder();
  symlinkSync(join(source, 'generation.json'), join(folder, 'generation.json'));
  const hooks = new HookRegistry();
  // Negated logits make the least probable token the first.
  hooks.add('hook_logits', (logits, { step }) => (step === 2 ? tf.neg(logits) : undefined));
  const report = await check(folder, hooks);
  assert.equal(report.tensors, { equal: 107, total: 107 });
  assert.ok(report.sequences.equal < report.sequences.total);
  assert.not.ok(report.equal);
  const [first] = report.variants[0].checkpoints[0].sequences;
  assert.is(first.firstDifference, 3, 'the first case is greedy, so step 2 generates token 3');
});

/** Changes of a manifest after which not everything is compared, and the parts that are reported. */
const gaps: [what: string, edit: (manifest: ManifestJson) => void, missed: Record<string, string[]>][] = [
  [
    'a tensor with an unknown name',
    ({ files }) => files['text.safetensors'].push({ name: 'encoder.layer0.gate', shape: [2] }),
    { 'text.safetensors': ['encoder.layer0.gate'] },
  ],
  [
    'a layer that the model lacks',
    ({ files }) => files['vision.safetensors'].push({ name: 'vision.stage0.block7.spatial.out', shape: [2] }),
    { 'vision.safetensors': ['vision.stage0.block7.spatial.out'] },
  ],
  [
    'an unknown file',
    ({ files }) => Object.assign(files, { 'other.safetensors': [{ name: 'a', shape: [] }, { name: 'b', shape: [] }] }), // biome-ignore format: one line
    { 'other.safetensors': ['a', 'b'] },
  ],
  [
    'a checkpoint without dumps',
    ({ checkpoints }) => Object.assign(checkpoints['hf/model.safetensors'], { dtype: 'float16' }) && Object.assign(checkpoints, { '../x/model.safetensors': { dtype: 'float32' } }), // biome-ignore format: one line
    { 'hf/model.safetensors': ['weights'] },
  ],
];
for (const [what, edit, missed] of gaps) {
  tool(`reports ${what}`, async () => {
    const folder = referenceFolder(edit);
    if (what.includes('checkpoint')) cpSync(join(folder, 'hf'), join(folder, '../x'), { recursive: true });
    const { equal, tensors, variants } = await check(folder);
    const names = Object.fromEntries(variants[0].notCompared.map(entry => [entry.file, entry.names]));
    assert.equal(names, missed);
    assert.not.ok(equal);
    assert.is(tensors.total - tensors.equal, Object.values(missed).flat().length);
  });
}

tool('lists files about training, and does not count them', async () => {
  const files = ['train/full/grads.safetensors', 'lora/basic/expected.safetensors'];
  const folder = referenceFolder(manifest => {
    for (const file of files) manifest.files[file] = [{ name: 'x', shape: [1] }];
  });
  const { equal, tensors, variants } = await check(folder);
  assert.equal(variants[0].training, files);
  assert.equal(tensors, { equal: 107, total: 107 });
  assert.ok(equal);
});

tool('reads a folder of variants', async () => {
  const { variants } = await check(folderOfVariants());
  assert.equal(variants.map(({ folder }) => folder.split('/').at(-1)), ['a', 'b']); // biome-ignore format: one line
});

function folderOfVariants(): string {
  const folder = folderOf({ 'index.json': '{}' });
  for (const name of ['a', 'b'])
    symlinkSync(
      referenceFolder(manifest => visionOnly(manifest)),
      join(folder, name),
    );
  return folder;
}

function visionOnly(manifest: ManifestJson): void {
  manifest.files = { 'vision.safetensors': manifest.files['vision.safetensors'].slice(0, 1) };
}

const withManifest = (manifest: unknown) => folderOf({ 'manifest.json': JSON.stringify(manifest) });
const whole = (): ManifestJson => referenceJson('model/tiny-pad/manifest.json');
const damaged: [what: string, folder: () => string, file: string, problem: RegExp][] = [
  ['a folder that does not exist', () => join(folderOf({}), 'none'), 'none', /does not exist/],
  ['a file', () => join(folderOf({ 'a.txt': '' }), 'a.txt'), 'a.txt', /is a file/],
  ['an empty folder', () => folderOf({}), '', /is not a reference folder/],
  ['a folder in which one folder has no manifest', () => folderOf({ 'a/manifest.json': '{}', 'b/x': '' }), 'b', /may be incomplete/], // biome-ignore format: one line
  ['a truncated manifest', () => folderOf({ 'manifest.json': manifestText().slice(0, 3000) }), 'manifest.json', /is not JSON/], // biome-ignore format: one line
  ['a manifest that is a list', () => withManifest([]), 'manifest.json', /expected an object/],
  ['a manifest without checkpoints', () => withManifest({ ...whole(), checkpoints: {} }), 'manifest.json', /checkpoints is/], // biome-ignore format: one line
  ['a manifest without files', () => withManifest({ ...whole(), files: undefined }), 'manifest.json', /files is/],
  ['a checkpoint without a type', () => withManifest({ ...whole(), checkpoints: { 'hf/model.safetensors': {} } }), 'manifest.json', /checkpoints\["hf\/model\.safetensors"\]\.dtype/], // biome-ignore format: one line
  ['a tensor without a shape', () => withManifest({ ...whole(), files: { 'vision.safetensors': [{ name: 'a' }] } }), 'manifest.json', /files\["vision\.safetensors"\]\[0\]\.shape/], // biome-ignore format: one line
  ['a missing checkpoint', () => referenceFolder(({ checkpoints }) => Object.assign(checkpoints, { 'ms/model.safetensors': { dtype: 'float32' } })), 'ms', /is not a folder/], // biome-ignore format: one line
  ['a missing dump', () => referenceFolder(() => {}, ['vision.safetensors']), 'vision.safetensors', /does not exist/], // biome-ignore format: one line
  ['missing inputs', () => referenceFolder(() => {}, ['inputs.safetensors']), 'inputs.safetensors', /does not exist/], // biome-ignore format: one line
  ['a dump with a wrong shape', () => referenceFolder(({ files }) => files['vision.safetensors'][0].shape.push(1)), 'vision.safetensors', /has shape \[2,12,24,24\], but manifest\.json says \[2,12,24,24,1\]/], // biome-ignore format: one line
  ['missing generations', () => referenceFolder(manifest => Object.assign(manifest, { generation: { greedy_plain: {} } })), 'generation.json', /does not exist/], // biome-ignore format: one line
  ['a missing generation', () => withGenerations(cases => delete cases.beam3_lp0, 'beam3_lp0'), 'generation.json', /lacks the case beam3_lp0/], // biome-ignore format: one line
  ['a generation with an unknown argument', () => withGenerations(cases => Object.assign(cases.greedy_plain.args, { top_k: 3 })), 'generation.json', /greedy_plain\.args\.top_k is 3/], // biome-ignore format: one line
  ['a generation with an unknown mask', () => withGenerations(cases => Object.assign(cases.greedy_plain, { encoder_mask: 'none' })), 'generation.json', /greedy_plain\.encoder_mask is "none"/], // biome-ignore format: one line
  ['a generation of a missing row', () => withGenerations(cases => Object.assign(cases.beam3_single, { row: 2 })), 'generation.json', /beam3_single uses row 2, but the inputs have 2 rows/], // biome-ignore format: one line
  ['a wrong number of scores', () => withGenerations(cases => Object.assign(cases.beam3_lp0, { sequences_scores: [1] })), 'generation.json', /beam3_lp0\.sequences_scores is \[1\]/], // biome-ignore format: one line
];

/** Returns a folder with changed generations, and a manifest that names some of them. */
function withGenerations(edit: (cases: Record<string, Record<string, object>>) => unknown, ...named: string[]): string {
  const folder = referenceFolder(manifest => {
    manifest.generation = Object.fromEntries(named.map(name => [name, {}]));
    visionOnly(manifest);
  });
  const generation = referenceJson('model/tiny-pad/generation.json');
  edit(generation.cases);
  const { greedy_plain, beam3_lp0, beam3_single } = generation.cases;
  writeFileSync(join(folder, 'generation.json'), JSON.stringify({ cases: { greedy_plain, beam3_lp0, beam3_single } }));
  return folder;
}

for (const [what, folder, file, problem] of damaged) {
  tool(`refuses ${what} with a message of one line`, () =>
    withoutLeaks(() => refuses(what, () => check(folder()), file, problem)),
  );
}

/** The base tolerances of the reference's README, and their scaling: the larger of two ratios, at least 1. */
for (const [name, rms, precision, expected] of [
  ['vision.stage0.block0.spatial.conv1', 0.5, 1e-6, 1e-4],
  ['vision.stage3.block1.channel.out', 8, 1e-5, 2e-4],
  ['vision.stage0.conv_embed', 1, 6e-5, 3e-4],
  ['vision.stage0.conv_embed', 8, 6e-5, 3e-4],
  ['projector.pooled', 4, 1.3e-5, 1e-4],
  ['projector.projected', 0.05, 0, 1e-4],
  ['projector.image_features', 1, 4e-6, 3e-5],
  ['encoder.inputs_embeds', 1, 4e-6, 3e-5],
  ['encoder.layer3.self_attn', 1, 5e-6, 3e-5],
  ['encoder.layer0.self_attn_weights', 0.3, 2e-6, 2e-5],
  ['encoder.layer0.ffn', 5, 1.9e-5, 1e-4],
  ['encoder.layer0.out', 1, 5e-6, 3e-5],
  ['decoder.embed', 1, 6e-6, 4e-5],
  ['decoder.layer0.cross_attn_norm', 2, 6e-6, 8e-5],
  ['decoder.layer0.cross_attn_weights', 0.3, 2e-6, 2e-5],
  ['decoder.layer2.ffn', 5, 1.9e-5, 1e-4],
  ['step0.layer0.self.key', 3, 1.1e-5, 5e-5],
  ['layer1.cross.value', 3, 1.1e-5, 5e-5],
  ['logits', 2.4, 1.3e-5, 8e-5],
  ['logits_nomask', 4.8, 1.3e-5, 1.6e-4],
  ['logits_fp16_weights', 2.4, 0, 8e-5],
  ['step2.logits', 2.4, 0, 8e-5],
  ['loss_padlabels', 10, 2e-6, 2e-5],
  ['something_else', 1, 0, undefined],
] as [string, number, number, number | undefined][]) {
  tool(`tolerance of ${name} with rms ${rms} and a precision of ${precision}`, () => {
    const tolerance = tensorTolerance({ name, rms, precision });
    if (expected === undefined) assert.is(tolerance, undefined);
    else assert.ok(Math.abs(tolerance! / expected - 1) < 1e-9, `${tolerance}, expected ${expected}`);
  });
}

test.run();
