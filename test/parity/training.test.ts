/** Tests that training is equal to PyTorch's, and that the comparison notices mistakes. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HookRegistry } from '../../src/hooks/hooks.ts';
import { checkParity } from '../../src/parity/check.ts';
import type { ParityReport, TrainingRow } from '../../src/parity/report.ts';
import { testBackend as backend, withoutLeaks } from '../backend.ts';
import { hasReference } from '../reference.ts';
import { refuses } from '../weights/temporary.ts';
import { referenceFolder } from './reference_folder.ts';
import { changeJson, changeTensor, trainingFolder } from './training_folder.ts';

const check = (folder: string, hooks?: HookRegistry): Promise<ParityReport> =>
  withoutLeaks(() => checkParity(folder, { backend, training: true, ...(hooks && { hooks }) }));
const rowsOf = (report: ParityReport): TrainingRow[] =>
  report.variants.flatMap(({ checkpoints }) => checkpoints.flatMap(({ training }) => training));
const wrongOf = (report: ParityReport): string[] =>
  rowsOf(report)
    .filter(row => !row.equal)
    .map(({ file, what, name, difference, tolerance }) => `${file} ${what} ${name}: ${difference} > ${tolerance}`);

// The part of the reference in this repository has no trainings.
const present = hasReference('model/tiny/train');
const proof = present ? test : test.skip;
/** The comparison itself does not depend on the backend, so it is tested on the fastest one. */
const tool = present && backend === 'tensorflow' ? test : test.skip;

/** Rows per layout, counted by hand: losses, norms, gradients and parameters, and the extra rows for biases of keys. */
const course = 4 + 3;
const full = course + 2 * (240 + 4) + (240 - 6 + 3);
const frozen = course + (96 - 6 + 3);
const padded = 6;
/** Logits without an adapter, with it active and with it merged, in two layouts. `recipe` is merged in two ways. */
const logits = 4 * (1 + 2 * 2) + 2;
const adapters = logits + 4 * (course + 1) + 2 * (36 + 31 + 20 + 24);

async function equalToPyTorch(layouts: string[], total: number): Promise<ParityReport> {
  const report = await check(trainingFolder(['train', 'lora'], () => {}, layouts));
  assert.equal(wrongOf(report), []);
  assert.equal(report.variants[0].notCompared, []);
  assert.equal(report.variants[0].training, []);
  assert.equal(report.training, { equal: total, total });
  assert.ok(report.equal);
  return report;
}

const leftOutOf = (report: ParityReport) => report.variants[0].checkpoints.flatMap(({ leftOut }) => leftOut);

// The cpu backend needs a minute per layout of weights, and a software GPU longer.
const layouts = backend === 'tensorflow' ? ['hf', 'microsoft'] : ['hf'];

(backend === 'wasm' ? test.skip : proof)('every training is equal to PyTorch', async () => {
  const each = full + course + frozen + padded + adapters;
  const report = await equalToPyTorch(layouts, layouts.length * each);
  const leftOut = leftOutOf(report);
  assert.is(leftOut.length, 2 * layouts.length);
  for (const { file, names, reason } of leftOut) {
    assert.match(file, 'params_after3.safetensors');
    assert.ok(names.every(name => name.endsWith('k_proj.bias')));
    assert.match(reason, 'the exact gradient is zero');
  }
});

(backend === 'wasm' ? proof : test.skip)(
  'adapters are equal to PyTorch, and missing gradients are reported',
  async () => {
    const report = await equalToPyTorch(['hf', 'microsoft'], 2 * logits);
    const leftOut = leftOutOf(report);
    assert.is(new Set(leftOut.map(({ file }) => file)).size, 3 + 1 + 2 + 1 + 4 * 2);
    for (const { reason } of leftOut) {
      assert.match(
        reason,
        /^wasm cannot train (vision_tower|multi_modal_projector)\..*: it has no gradients of convolutions/,
      );
    }
  },
);

tool('a wrong gradient is found from where it occurs, with and without checkpointing', async () => {
  const hooks = new HookRegistry();
  const twice = tf.customGrad(x => ({ value: tf.clone(x as tf.Tensor), gradFunc: (dy: tf.Tensor) => tf.mul(dy, 2) }));
  hooks.add('language_model.encoder.layers.1.hook_mlp_out', x => twice(x));
  const report = await check(trainingFolder(['train/full']), hooks);
  assert.not.ok(report.equal);
  const rows = rowsOf(report);
  for (const what of ['gradients', 'gradients, with checkpointing']) {
    const ok = (name: string) => rows.find(row => row.what === what && row.name === `model.${name}`)!.equal;
    assert.ok(ok('language_model.encoder.layers.1.final_layer_norm.weight'), `${what}: after it`);
    assert.ok(ok('language_model.decoder.layers.0.fc1.weight'), `${what}: after it`);
    assert.not.ok(ok('language_model.encoder.layers.1.fc2.weight'), `${what}: before it`);
    assert.not.ok(ok('vision_tower.convs.0.conv.weight'), `${what}: before it`);
  }
  const [loss, ...later] = rows.filter(({ what }) => what === 'losses');
  assert.ok(loss.equal, 'the forward pass is right');
  assert.not.ok(later.every(({ equal }) => equal));
  assert.not.ok(rows.find(({ what }) => what === 'gradient norms')!.equal);
});

/** Changes of the training or its record, and the kinds of rows that must differ. All others stay equal. */
const mistakes: [what: string, folder: () => string | Promise<string>, departs: RegExp][] = [
  [
    'one changed number in an adapter',
    () =>
      changeTensor(
        trainingFolder(['lora/rslora']),
        'lora/rslora/microsoft/adapter_model.safetensors',
        'base_model.model.language_model.model.decoder.layers.0.fc2.lora_B.weight',
        values => {
          values[5] += 0.01;
        },
      ),
    /^logits of microsoft\/$/,
  ],
  [
    'an adapter scaled by alpha / r instead of alpha / √r',
    () => changeJson(trainingFolder(['lora/rslora']), 'lora/rslora/hf/adapter_config.json', config => Object.assign(config, { use_rslora: false })), // biome-ignore format: one line
    /^(logits of hf\/|logits, trained here|losses|gradient norms|gradients)$/,
  ],
  [
    'different initial values of an adapter',
    () =>
      changeTensor(
        trainingFolder(['lora/rslora']),
        'lora/rslora/init.safetensors',
        'base_model.model.model.language_model.decoder.layers.0.fc2.lora_A.weight',
        values => {
          values[5] += 0.1;
        },
      ),
    /^(logits, trained here|losses|gradient norms|gradients)$/,
  ],
  ['no clipping', () => withOptimizer('clip 1.0', 'clip 1000'), /^(losses|parameters|gradient norms)$/],
  ['another decay of the second moment', () => withOptimizer('0.999', '0.99'), /^(losses|parameters|gradient norms)$/],
  ['five times the weight decay', () => withOptimizer('decay=0.01', 'decay=0.05'), /^(losses|parameters)$/],
  [
    'one small tensor that was not trained',
    () =>
      changeTensor(
        trainingFolder(['train/frozen-vision']),
        'train/frozen-vision/params_after3.safetensors',
        'model.language_model.decoder.layers.1.fc2.bias',
        values => {
          for (const i of values.keys()) values[i] += 1e-3;
        },
      ),
    /^parameters$/,
  ],
  [
    'a norm without weight decay',
    () =>
      changeTensor(
        trainingFolder(['train/frozen-vision']),
        'train/frozen-vision/params_after3.safetensors',
        'model.language_model.decoder.layernorm_embedding.weight',
        values => {
          for (const i of values.keys()) values[i] *= 1 + 3 * 1e-3 * 0.01;
        },
      ),
    /^parameters$/,
  ],
];

const withOptimizer = (from: string, to: string): string =>
  changeJson(trainingFolder(['train/frozen-vision']), 'train/frozen-vision/expected.json', record => {
    record.optimizer = String(record.optimizer).replace(from, to);
  });

for (const [what, folder, departs] of mistakes) {
  tool(`finds ${what}`, async () => {
    const report = await check(await folder());
    const wrong = new Set(rowsOf(report).filter(({ equal }) => !equal).map(row => row.what)); // biome-ignore format: one line
    assert.ok(wrong.size > 0, 'nothing differs');
    for (const kind of wrong) assert.match(kind, departs);
    assert.not.ok(report.equal);
    assert.ok(report.training!.equal < report.training!.total);
    assert.equal(report.variants[0].notCompared, []);
  });
}

/** Changes after which not everything is compared, and the parts that are reported. */
const gaps: [what: string, folder: () => string, missed: Record<string, string[]>][] = [
  [
    'an unknown file',
    () => trainingFolder(['lora/basic'], ({ files }) => Object.assign(files, { 'train/x.safetensors': [{ name: 'a', shape: [1] }] })), // biome-ignore format: one line
    { 'train/x.safetensors': ['a'] },
  ],
  [
    'unknown logits, and a gradient of an unknown parameter',
    () =>
      trainingFolder(['lora/basic'], ({ files }) => {
        const tensors = ['logits_scaled', 'grad.base_model.model.model.gate.weight'];
        files['lora/basic/expected.safetensors'].push(...tensors.map(name => ({ name, shape: [1] })));
      }),
    { 'lora/basic/expected.safetensors': ['logits_scaled', 'grad.base_model.model.model.gate.weight'] },
  ],
  [
    'a frozen parameter',
    () =>
      changeJson(
        trainingFolder(['train/frozen-vision'], ({ files }) => {
          const tensors = files['train/frozen-vision/params_after3.safetensors'];
          files['train/frozen-vision/params_after3.safetensors'] = tensors.slice(0, 6);
        }),
        'train/frozen-vision/expected.json',
        record => Object.assign(record, { trainable: 'all but language_model.* ' }),
      ),
    { 'train/frozen-vision/params_after3.safetensors': ['model.language_model.shared.weight'] },
  ],
];
for (const [what, folder, missed] of gaps) {
  tool(`reports ${what}`, async () => {
    const { equal, training, variants } = await check(folder());
    const names = Object.fromEntries(variants[0].notCompared.map(entry => [entry.file, entry.names]));
    assert.equal(names, missed);
    assert.not.ok(equal);
    assert.ok(training!.total - training!.equal >= Object.values(missed).flat().length);
  });
}

const record = (change: Record<string, unknown>): string =>
  changeJson(trainingFolder(['train/frozen-vision']), 'train/frozen-vision/expected.json', json => Object.assign(json, change)); // biome-ignore format: one line
const without = (training: string, file: string): string => {
  const folder = trainingFolder([training]);
  rmSync(join(folder, training, file));
  return folder;
};
const damaged: [what: string, folder: () => string, file: string, problem: RegExp][] = [
  ['a missing record', () => without('train/full', 'expected.json'), 'train/full/expected.json', /does not exist/], // biome-ignore format: one line
  ['a record of another optimizer', () => record({ optimizer: 'SGD lr=0.1' }), 'expected.json', /optimizer is "SGD lr=0\.1"/], // biome-ignore format: one line
  ['a record of unknown parameters', () => record({ trainable: 'the head' }), 'expected.json', /trainable is "the head"/], // biome-ignore format: one line
  ['a record without losses', () => record({ loss_before_each_step_and_after_last: null }), 'expected.json', /loss_before_each_step_and_after_last is null/], // biome-ignore format: one line
  ['a record of too few norms', () => record({ grad_norm_before_clip: [1] }), 'expected.json', /grad_norm_before_clip is \[1\]/], // biome-ignore format: one line
  ['an adapter without expected values', () => trainingFolder(['lora/basic'], ({ files }) => void delete files['lora/basic/expected.safetensors']), 'manifest.json', /files has no lora\/basic\/expected\.safetensors/], // biome-ignore format: one line
  ['missing initial values', () => without('lora/basic', 'init.safetensors'), 'init.safetensors', /does not exist/], // biome-ignore format: one line
];
for (const [what, folder, file, problem] of damaged) {
  tool(`refuses ${what} with a message of one line`, () =>
    withoutLeaks(() => refuses(what, () => check(folder()), file, problem)),
  );
}

test('refuses folders without trainings', () => {
  const folder = referenceFolder();
  return refuses('training', () => check(folder), folder, /no train\/ or lora\//);
});

test.run();
