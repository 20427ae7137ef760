/** Compares DoRA adapters with PEFT: tools/peft_dora.py wrote the files. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference } from '../../src/activations/activation.ts';
import { Adapters } from '../../src/adapters/adapters.ts';
import { copyLora } from '../../src/adapters/lora.ts';
import type { Florence2Model } from '../../src/model/florence2_model.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

const folder = fileURLToPath(new URL('dora', import.meta.url));
const file = await openSafetensors(join(folder, 'expected.safetensors'));
const layers = [...file.tensors.keys()].filter(name => name.endsWith('.x')).map(name => name.slice(0, -2));

/** Returns a tensor of the file. Maps become [B, H, W, C]. */
async function expected(name: string): Promise<tf.Tensor> {
  const tensor = tf.tensor(await file.readFloat32(name), file.tensors.get(name)!.shape);
  if (tensor.rank !== 4 || name.endsWith('.weight')) return tensor;
  const map = tf.transpose(tensor, [0, 2, 3, 1]);
  tensor.dispose();
  return map;
}

/** Compares a tensor with one of the file, and disposes both. */
async function compare(actual: tf.Tensor, name: string): Promise<void> {
  const reference = await expected(name);
  assert.equal(actual.shape, reference.shape, name);
  const { maxAbs } = difference(await actual.data(), await reference.data());
  assert.ok(maxAbs <= 1e-5, `${name} differs by ${maxAbs}`);
  tf.dispose([actual, reference]);
}

const sorted = <T>(map: Map<string, T>): [string, T][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

async function checkRun(model: Florence2Model, output: 'y' | 'half' = 'y'): Promise<void> {
  for (const name of layers) {
    const x = await expected(`${name}.x`);
    const layer = model.adaptable.get(name) as unknown as { forward(x: tf.Tensor): tf.Tensor };
    await compare(layer.forward(x), `${name}.${output}`);
    x.dispose();
  }
}

/** Returns the tensors of an adapter's file. */
async function tensorsOf(folder: string): Promise<Map<string, { shape: readonly number[]; values: Float32Array }>> {
  const file = await openSafetensors(join(folder, 'adapter_model.safetensors'));
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const [name, { shape }] of file.tensors) tensors.set(name, { shape, values: await file.readFloat32(name) });
  await file.close();
  return tensors;
}

test('a DoRA adapter runs, scales, merges and is saved as in PEFT', async () => {
  assert.is(layers.length, 4);
  const { model, inputs } = await openSubject('tiny-pad');
  await withoutLeaks(async () => {
    const adapters = new Adapters(model);
    await adapters.load(folder);
    await checkRun(model);
    adapters.merge();
    for (const name of layers) {
      const { weight } = model.adaptable.get(name)!;
      await compare(weight.inCheckpointOrder(weight.value), `${name}.weight`);
    }
    await checkRun(model);
    adapters.unmerge();
    adapters.setScale('default', 0.5);
    await checkRun(model, 'half');
    await adapters.load(folder, { name: 'half', scale: 0.5 });
    await checkRun(model, 'half');
    assert.throws(() => adapters.activate('default', 'half'), /cannot be active together: both replace vision_tower/);
    adapters.setScale('half', 1);
    await checkRun(model);
    const copy = temporaryFolder();
    await adapters.save('half', copy);
    assert.equal(sorted(await tensorsOf(copy)), sorted(await tensorsOf(folder)));
    await adapters.load(copy, { name: 'saved' });
    await checkRun(model);
    assert.throws(() => copyLora(model, adapters.get('saved')), /^A DoRA adapter cannot be trained/);
    adapters.dispose();
  });
  const adapters = new Adapters(model);
  await adapters.load(folder);
  adapters.mergeAndUnload();
  await checkRun(model);
  model.dispose();
  await inputs.close();
});

test('use_dora and the tensors must agree', async () => {
  const { model, inputs } = await openSubject('tiny-pad');
  const copy = temporaryFolder();
  cpSync(folder, copy, { recursive: true });
  const path = join(copy, 'adapter_config.json');
  const config = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...config, use_dora: false }));
  const problem = /contains the lora_magnitude_vector of .*, but adapter_config\.json says use_dora false\.$/;
  await refuses('use_dora', () => new Adapters(model).load(copy), copy, problem);
  model.dispose();
  await inputs.close();
});

test.after(() => file.close());
test.run();
