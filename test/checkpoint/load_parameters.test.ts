import { copyFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadParameters } from '../../src/checkpoint/load_parameters.ts';
import { parseConfig } from '../../src/config/model.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import { canonicalCheckpoint } from '../../src/weights/canonical.ts';
import type { TensorToWrite } from '../../src/weights/safetensors.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { reference, referenceJson } from '../reference.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

const layouts = ['hf', 'microsoft'] as const;
const folder = temporaryFolder();
let files = 0;

/** Loads tiny-pad's weights in one layout, after `edit` has changed their list, into a new model. */
async function load(layout: string, edit: (tensors: Map<string, TensorToWrite>) => void = () => {}) {
  const original = await openSafetensors(reference(`model/tiny-pad/${layout}/model.safetensors`));
  const tensors = new Map<string, TensorToWrite>();
  for (const { name, shape } of original.tensors.values()) {
    tensors.set(name, { name, shape, data: await original.readFloat32(name) });
  }
  await original.close();
  edit(tensors);
  const path = join(folder, `model-${files++}.safetensors`);
  await writeSafetensors(path, tensors.values());
  const model = new Florence2Model(parseConfig(referenceJson(`model/tiny-pad/${layout}/config.json`)));
  const file = await openSafetensors(path);
  const progress: [number, number][] = [];
  try {
    await loadParameters(model, await canonicalCheckpoint(file), (...at) => progress.push(at));
    return { model, progress };
  } catch (error) {
    model.dispose();
    throw error;
  } finally {
    await file.close();
  }
}

/** Reads a parameter in the checkpoint's order of elements. */
async function values(model: Florence2Model, name: string, fromMemory: number[]): Promise<Float32Array> {
  const tensor = tf.tidy(() => tf.transpose(model.parameters.get(name)!.value, fromMemory));
  const data = (await tensor.data()) as Float32Array;
  tensor.dispose();
  return data;
}

for (const layout of layouts) {
  test(`${layout}: every value is loaded at its place`, async () => {
    const { model } = await load(layout);
    const native = await openSafetensors(reference('model/tiny-pad/hf/model.safetensors'));
    for (const [name, fromMemory] of [
      ['multi_modal_projector.image_projection.weight', [1, 0]], // transposed in Microsoft's file
      ['language_model.decoder.layers.1.fc1.weight', [1, 0]],
      ['vision_tower.convs.1.conv.weight', [3, 2, 0, 1]],
      ['vision_tower.blocks.2.0.channel_block.conv2.weight', [2, 3, 0, 1]],
      ['language_model.shared.weight', [0, 1]],
    ] as [string, number[]][]) {
      assert.equal(await values(model, name, fromMemory), await native.readFloat32(`model.${name}`), name);
    }
    await native.close();
    model.dispose();
  });

  test(`${layout}: progress ends at the size of the weights in fp32`, async () => {
    const { model, progress } = await load(layout);
    const bytes = [...model.parameters.values()].filter(parameter => parameter.loaded).reduce((sum, { shape }) => sum + 4 * shape.reduce((n, d) => n * d, 1), 0); // biome-ignore format: one line
    assert.equal(progress.at(-1), [bytes, bytes]);
    progress.slice(1).forEach(([loaded, total], i) => {
      assert.ok(loaded > progress[i][0] && total === bytes);
    });
    model.dispose();
  });
}

const name = 'model.vision_tower.blocks.0.0.spatial_block.window_attn.qkv.weight';
const one = (key: string) => ({ name: key, shape: [1], data: new Float32Array(1) });
for (const [what, edit, problem] of [
  ['a missing tensor', t => t.delete(name), /lacks vision_tower\.blocks\.0\.0\.spatial_block\.window_attn\.qkv\.weight\.$/], // biome-ignore format: one line
  ['four missing tensors', t => [...t.keys()].filter(key => key.includes('layers.0.fc')).slice(0, 4).forEach(key => void t.delete(key)), /lacks \S+, \S+, \S+ and 1 more\.$/], // biome-ignore format: one line
  ['a surplus layer', t => t.set('x', one('model.language_model.encoder.layers.1.fc1.bias')), /has model\.language_model\.encoder\.layers\.1\.fc1\.bias, which the model/], // biome-ignore format: one line
  ['another shape', t => t.set(name, { ...t.get(name)!, shape: [12, 36] }), /window_attn\.qkv\.weight has shape \[12, 36\], but for config\.json it must be \[36, 12\]/], // biome-ignore format: one line
  ['a tensor of another model', t => t.set('x', one('model.rotary.inv_freq')), /model\.rotary\.inv_freq is not part of a Florence-2/], // biome-ignore format: one line
] as [string, (tensors: Map<string, TensorToWrite>) => unknown, RegExp][]) {
  test(`${what} is refused by name`, async () => {
    await withoutLeaks(() => refuses(what, () => load('hf', edit), 'model-', problem));
  });
}

test('a file that becomes shorter while it loads is an error that names the tensor', async () => {
  const path = join(folder, 'shrinks.safetensors');
  copyFileSync(reference('model/tiny-pad/hf/model.safetensors'), path);
  const model = new Florence2Model(parseConfig(referenceJson('model/tiny-pad/hf/config.json')));
  const file = await openSafetensors(path);
  const checkpoint = await canonicalCheckpoint(file);
  truncateSync(path, 100_000);
  await refuses(
    'shrinks',
    () => loadParameters(model, checkpoint),
    path,
    /tensor \S+( cannot be read\. Has the file changed|\.$)/,
  );
  await file.close();
  model.dispose();
});

test.run();
