/** Compares adapters of embeddings with PEFT: tools/peft_embeddings.py wrote the files. */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Adapters } from '../../src/adapters/adapters.ts';
import { copyLora } from '../../src/adapters/lora.ts';
import { storedTensors } from '../../src/checkpoint/stored_tensors.ts';
import { configText, updateConfig } from '../../src/checkpoint/write_config.ts';
import { noHooks } from '../../src/hooks/hooks.ts';
import type { Florence2Model } from '../../src/model/florence2_model.ts';
import { unadapted } from '../../src/nn/params.ts';
import { loadCheckpoint } from '../../src/parity/subject.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { reference } from '../reference.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

const folder = fileURLToPath(new URL('embeddings', import.meta.url));
const file = await openSafetensors(join(folder, 'expected.safetensors'));
const checkpoint = await openSafetensors(reference('model/tiny-pad/hf/model.safetensors'));
const table = await checkpoint.readFloat32('model.language_model.shared.weight');
await checkpoint.close();
const shape = [table.length / 48, 48];
const temporary = temporaryFolder();
const [features, prompt, answer] = await Promise.all(
  ['features', 'prompt', 'answer'].map(async name => ({
    values: await file.readFloat32(name),
    shape: file.tensors.get(name)!.shape,
  })),
);

/** Compares the logits of the file's answer with those of a case, all at once and token by token. */
async function check(model: Florence2Model, name: string): Promise<void> {
  const expected = await file.readFloat32(name);
  const results = model.compute(() =>
    tf.tidy(() => {
      const ids = (of: typeof prompt) => tf.tensor2d(of.values, of.shape as [number, number], 'int32');
      const inputs = tf.tensor3d(features.values, features.shape as [number, number, number]);
      const memory = model.encodePrompt(inputs, ids(prompt), null, noHooks);
      const caches = model.executor.newCaches(memory.states, noHooks);
      const tokens = tf.split(ids(answer), answer.shape[1], 1) as tf.Tensor2D[];
      const steps = tf.stack(
        tokens.map(token => model.executor.decodeStep(token, memory, caches, noHooks)),
        1,
      );
      for (const cache of caches) cache.dispose();
      return [model.logits(ids(answer), memory, noHooks), steps];
    }),
  );
  for (const [i, logits] of results.entries()) {
    const values = await logits.data();
    assert.is(values.length, expected.length);
    const largest = Math.max(...values.map((value, at) => Math.abs(value - expected[at])));
    assert.ok(largest < 2e-4, `${name}, ${i === 0 ? 'all tokens' : 'token by token'}: differs by ${largest}`);
  }
  tf.dispose(results);
}

/** Writes an adapter as PEFT does that has these tables in `modules_to_save`, with the values of tools/peft_embeddings.py. */
async function savedTables(phases: Record<string, number>): Promise<string> {
  const path = mkdtempSync(join(temporary, 'saved-'));
  const modules = Object.keys(phases).map(name => name.split('.').at(-1)!);
  const config = { peft_type: 'LORA', r: 1, modules_to_save: [...new Set(modules)] };
  writeFileSync(join(path, 'adapter_config.json'), JSON.stringify(config));
  const fc1 = 'model.language_model.decoder.layers.0.fc1';
  const tensors = [
    { name: `${fc1}.lora_A.weight`, shape: [1, 48], data: new Float32Array(48).fill(1) },
    { name: `${fc1}.lora_B.weight`, shape: [112, 1], data: new Float32Array(112) },
    ...Object.entries(phases).map(([name, phase]) => {
      return { name: `${name}.weight`, shape, data: table.map((value, i) => value * (1 + 0.1 * Math.sin(i + phase))) };
    }),
  ];
  const content = tensors.map(({ name, ...rest }) => ({ name: `base_model.model.${name}`, ...rest }));
  await writeSafetensors(join(path, 'adapter_model.safetensors'), content);
  return path;
}

const [shared, encoder, decoder] = ['shared', 'encoder.embed_tokens', 'decoder.embed_tokens'].map(
  name => `model.language_model.${name}`,
);
const cases: [name: string, folder: () => string | Promise<string>][] = [
  ['shared', () => join(folder, 'shared')],
  ['embed_tokens', () => join(folder, 'embed_tokens')],
  ['all', () => join(folder, 'all')],
  ['save shared', () => savedTables({ [shared]: 1 })],
  ['save embed_tokens and lm_head', () => savedTables({ [encoder]: 2, [decoder]: 3, lm_head: 4 })],
  ['save lm_head', () => savedTables({ lm_head: 4 })],
  ['save all', () => savedTables({ [shared]: 1, [encoder]: 2, [decoder]: 3, lm_head: 4 })],
];

for (const [name, write] of cases) {
  test(`${name}: runs, merges and is saved as in PEFT`, async () => {
    const { model, inputs } = await openSubject('tiny-pad');
    const path = await write();
    await withoutLeaks(async () => {
      const adapters = new Adapters(model);
      await adapters.load(path);
      await check(model, name);
      adapters.merge();
      await check(model, name);
      adapters.unmerge();
      adapters.setScale('default', 0);
      adapters.setScale('default', 1);
      await check(model, name);
      const copy = join(mkdtempSync(join(temporary, 'copy-')), 'adapter');
      await adapters.save('default', copy);
      adapters.activate();
      await check(model, 'none');
      await adapters.load(copy, { name: 'saved' });
      await check(model, name);
      if (existsSync(join(folder, name)))
        assert.throws(() => copyLora(model, adapters.get('saved')), /^An adapter of embeddings cannot be trained/);
      adapters.dispose();
    });
    const adapters = new Adapters(model);
    await adapters.load(path);
    adapters.mergeAndUnload();
    await check(model, name);
    const copy = mkdtempSync(join(temporary, 'merged-'));
    const config = readFileSync(reference('model/tiny-pad/hf/config.json'), 'utf8');
    const tensors = await storedTensors(model, unadapted, model.config, 'F32');
    const separate = tensors
      .map(tensor => tensor.name.replace(/^model\./, ''))
      .filter(name => /embed_tokens|lm_head/.test(name));
    const json = updateConfig(JSON.parse(config), model.config, 'float32', separate);
    writeFileSync(join(copy, 'config.json'), configText(json, config));
    await writeSafetensors(join(copy, 'model.safetensors'), tensors);
    const again = await loadCheckpoint(copy, { file: 'model.safetensors', dtype: 'float32' });
    await check(again.model, name);
    again.model.dispose();
    model.dispose();
    await inputs.close();
  });
}

test('LoRA of a depthwise convolution runs as in PEFT, and is not merged', async () => {
  const { model, inputs } = await openSubject('tiny-pad');
  await withoutLeaks(async () => {
    const adapters = new Adapters(model);
    await adapters.load(join(folder, 'depthwise'));
    const conv1 = model.adaptable.get('vision_tower.blocks.0.0.spatial_block.conv1') as unknown as {
      forward(x: tf.Tensor): tf.Tensor;
    };
    const [x, y] = await Promise.all(['x', 'y'].map(name => file.readFloat32(name)));
    const output = model.compute(() =>
      tf.tidy(() => {
        const map = tf.transpose(tf.tensor(x, file.tensors.get('x')!.shape), [0, 2, 3, 1]);
        return tf.transpose(conv1.forward(map), [0, 3, 1, 2]);
      }),
    );
    const values = await output.data();
    const largest = Math.max(...values.map((value, i) => Math.abs(value - y[i])));
    assert.ok(values.length === y.length && largest < 1e-4, `differs by ${largest}`);
    output.dispose();
    assert.throws(() => adapters.merge(), /spatial_block\.conv1\.weight cannot be merged/);
    adapters.dispose();
  });
  model.dispose();
  await inputs.close();
});

test('DoRA of embeddings, and a table that is adapted and replaced, are refused', async () => {
  const { model, inputs } = await openSubject('tiny-pad');
  const both = mkdtempSync(join(temporary, 'both-'));
  const lora = ['A', 'B'].map(matrix => ({
    name: `base_model.model.${shared}.lora_embedding_${matrix}`,
    shape: matrix === 'A' ? [1, shape[0]] : [48, 1],
    data: new Float32Array(matrix === 'A' ? shape[0] : 48),
  }));
  const base = { name: `base_model.model.${shared}.base_layer.weight`, shape, data: table.map(x => x + 1) };
  await writeSafetensors(join(both, 'adapter_model.safetensors'), [...lora, base]);
  for (const [fields, problem] of [
    [{}, /both adapts and replaces language_model\.shared\.weight\.$/],
    [{ use_dora: true }, /DoRA of embeddings is not supported \(model\.language_model\.shared\)\.$/],
  ] as const) {
    writeFileSync(join(both, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', r: 1, ...fields }));
    await refuses('embeddings', () => new Adapters(model).load(both), both, problem);
  }
  model.dispose();
  await inputs.close();
});

test.after(() => file.close());
test.run();
