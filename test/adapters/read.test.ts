import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLora } from '../../src/adapters/lora.ts';
import { readAdapter } from '../../src/adapters/read.ts';
import { openFolder } from '../../src/platform/node.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { numbers } from '../nn/naive.ts';
import { reference } from '../reference.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';
import { stateDict, storage, tensor, zip } from '../weights/torch_file.ts';

const { model, inputs } = await openSubject();
const { dModel: D, vocabSize: V } = model.config.text;
const shared = await openSafetensors(reference('model/tiny-pad/hf/model.safetensors')).then(file =>
  file.readFloat32('model.language_model.shared.weight').finally(() => file.close()),
);

interface Stored {
  shape: number[];
  data: Float32Array;
  dtype?: 'F16' | 'BF16';
}
type Tensors = Record<string, Stored>;

const stored = (shape: number[], seed = 1): Stored => ({ shape, data: numbers(shape.reduce((n, d) => n * d, 1), seed) }); // biome-ignore format: one line
const temporary = temporaryFolder();

/** Writes an adapter in PEFT's format with these tensors, prefixed by `base_model.model.`, and these config fields. */
async function adapterFolder(tensors: Tensors, config: object = {}): Promise<string> {
  const folder = mkdtempSync(join(temporary, 'in-'));
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', r: 2, ...config }));
  const list = Object.entries(tensors).map(([name, rest]) => ({ name: `base_model.model.${name}`, ...rest }));
  await writeSafetensors(join(folder, 'adapter_model.safetensors'), list);
  return folder;
}

const q = 'language_model.encoder.layers.0.self_attn.q_proj';
const pair = (module: string, r = 2, inner = D, out = D): Tensors => ({
  [`${module}.lora_A.weight`]: stored([r, inner], 1),
  [`${module}.lora_B.weight`]: stored([out, r], 2),
});
const good = pair(`model.${q}`);

/** Reads an adapter, returns the result of `look`, and disposes the adapter. */
const read = <T>(folder: string, look: (lora: Awaited<ReturnType<typeof readAdapter>>) => T | Promise<T>): Promise<T> =>
  withoutLeaks(async () => {
    const lora = await readAdapter(model, openFolder(folder));
    return Promise.resolve(look(lora)).finally(() => lora.dispose());
  });

test('rank patterns match the names in the file', async () => {
  const microsoft = 'language_model.model.encoder.layers.0.self_attn.q_proj';
  for (const [name, pattern] of [
    [microsoft, '^language_model.model.encoder.layers.0.self_attn.q_proj'],
    [microsoft, 'model.encoder.*q_proj'],
    [`model.${q}`, `^model.${q}`],
    [`model.${q}`, 'q_proj'],
  ]) {
    const folder = await adapterFolder(pair(name, 3), {
      rank_pattern: { [pattern]: 3 },
      alpha_pattern: { [pattern]: 6 },
    });
    assert.is(await read(folder, lora => lora.layers.get(q)!.scale), 2, pattern);
  }
});

test('targets in the config that match no layer are ignored', async () => {
  const folder = await adapterFolder(good, { target_modules: ['q_proj', 'o_proj', 'Conv2d'] });
  assert.equal(await read(folder, lora => [...lora.layers.keys()]), [q]);
});

test('fp16 is converted to fp32', async () => {
  const data = Float32Array.of(0.1, -3, 65504, 1e-6);
  const a = { shape: [2, D], data: new Float32Array(2 * D).map((_, i) => data[i % 4]), dtype: 'F16' as const };
  const folder = await adapterFolder({ ...good, [`model.${q}.lora_A.weight`]: a });
  const values = await read(folder, async lora => {
    const ordered = lora.parameters[0].inCheckpointOrder(lora.parameters[0].value);
    return (await ordered.data().finally(() => ordered.dispose())) as Float32Array;
  });
  assert.equal([...values.slice(0, 4)], [0.0999755859375, -3, 65504, 1.0132789611816406e-6]);
});

test('adapter_model.bin is read if adapter_model.safetensors does not exist', async () => {
  const folder = mkdtempSync(join(temporary, 'in-'));
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', r: 2 }));
  const [a, b] = [numbers(2 * D, 1), numbers(D * 2, 2)];
  const bytes = (values: Float32Array) => new Uint8Array(values.buffer);
  const names = ['A', 'B'].map(matrix => `base_model.model.model.${q}.lora_${matrix}.weight`);
  const dictionary = stateDict({
    [names[0]]: tensor(storage('FloatStorage', '0', 2 * D), 0, [2, D], [D, 1]),
    [names[1]]: tensor(storage('FloatStorage', '1', 2 * D), 0, [D, 2], [2, 1]),
  });
  const archive = zip([['lora/data.pkl', dictionary], ['lora/data/0', bytes(a)], ['lora/data/1', bytes(b)]]); // biome-ignore format: one line
  writeFileSync(join(folder, 'adapter_model.bin'), archive);
  const transposed = await read(folder, async lora => (await lora.parameters[1].value.data()) as Float32Array); // [2, D]
  assert.is(transposed.length, b.length);
  assert.ok(transposed.every((x, i) => x === b[(i % D) * 2 + Math.floor(i / D)]));
});

const head = stored([V, D], 3);
const own: [what: string, tensors: Tensors, config: object, names: string[]][] = [
  [
    'a copy of the embedding table next to an adapted head: ignored',
    { 'lm_head.base_layer.weight': { shape: [V, D], data: shared } },
    {},
    [],
  ],
  ['a changed base of an adapted, tied head: replaces the embedding table', { 'lm_head.base_layer.weight': head }, {}, ['language_model.shared.weight']], // biome-ignore format: one line
  ['a head trained in full', { 'lm_head.weight': head }, { modules_to_save: ['lm_head'] }, ['lm_head.weight']],
  ['a resized embedding table, saved with its tied head', { 'model.language_model.shared.weight': head, 'lm_head.weight': head }, {}, ['language_model.shared.weight']], // biome-ignore format: one line
  ['an embedding table and a separate head', { 'model.language_model.shared.weight': head, 'lm_head.weight': stored([V, D], 4) }, {}, ['language_model.shared.weight', 'lm_head.weight']], // biome-ignore format: one line
  ["Microsoft's transposed projection", { image_projection: stored([model.config.vision.dimEmbed.at(-1)!, D]) }, {}, ['multi_modal_projector.image_projection.weight']], // biome-ignore format: one line
  ['a bias of an adapted layer', { [`model.${q}.base_layer.bias`]: stored([D]) }, { bias: 'lora_only' }, [`${q}.bias`]],
];
for (const [what, tensors, config, names] of own) {
  test(`replaced parameters: ${what}`, async () => {
    const folder = await adapterFolder({ ...good, ...tensors }, config);
    assert.equal(await read(folder, lora => [...lora.own.keys()]), names);
  });
}

const without = (name: string): Tensors => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));
const [aName, bName] = Object.keys(good);
const refused: [what: string, tensors: Tensors, config: object, problem: RegExp][] = [
  ['no tensors', {}, {}, /contains no LoRA tensors/],
  ['A without B', without(bName), {}, /contains lora_A of model\..*q_proj, but not lora_B/],
  ['B without A', without(aName), {}, /contains lora_B of model\..*q_proj, but not lora_A/],
  ['a rank that differs from the config', good, { r: 4 }, /lora_A\.weight has rank 2, but adapter_config\.json says 4/],
  ['B of a different rank', { ...good, [bName]: stored([D, 3]) }, {}, /lora_B\.weight has shape \[\d+, 3\], but this model needs \[\d+, 2\]/], // biome-ignore format: one line
  [
    'A of a different model',
    pair(`model.${q}`, 2, D + 1),
    {},
    /lora_A\.weight has shape \[2, \d+\], but this model needs/,
  ],
  ['A with too many axes', { ...good, [aName]: stored([2, D, 1, 1]) }, {}, /lora_A\.weight has shape \[2, \d+, 1, 1\]/],
  ['A without axes', { ...good, [aName]: stored([]) }, {}, /lora_A\.weight has shape \[\]/],
  ['a layer that the model does not have', pair(`model.${q.replace('layers.0', 'layers.9')}`), {}, /adapts model\.language_model\.encoder\.layers\.9.*; this model has no Linear or Conv2d of that name/], // biome-ignore format: one line
  [
    'a layer norm',
    pair('model.language_model.encoder.layernorm_embedding'),
    {},
    /layernorm_embedding; LoRA is supported on Linear, convolutions and embeddings, not on this layer\.$/,
  ],
  [
    'a depthwise convolution',
    pair('model.vision_tower.blocks.0.0.spatial_block.conv1'),
    {},
    /Rank 2 of the depthwise convolution .*conv1 is not supported: .* multiple of its 12 channels/,
  ],
  [
    'the embeddings as a Linear',
    pair('model.language_model.shared'),
    {},
    /shared\.lora_A\.weight has shape \[2, \d+\], but this model needs \[2, \d+\]/,
  ],
  [
    'an adapter of a different architecture',
    pair('model.layers.0.self_attn.q_proj'),
    {},
    /is not a tensor of a LoRA adapter for Florence-2/,
  ],
  ['a DoRA magnitude', { ...good, [`model.${q}.lora_magnitude_vector`]: stored([D]) }, {}, /contains the lora_magnitude_vector of .* use_dora false|is not a tensor of a LoRA/], // biome-ignore format: one line
  ['an embedding adapter', { ...good, 'model.language_model.shared.lora_embedding_A': stored([2, V]) }, {}, /contains lora_A of model\.language_model\.shared, but not lora_B/], // biome-ignore format: one line
  [
    "names that contain the adapter's name",
    pair(`model.${q}.lora_A.default`),
    {},
    /is not a tensor of a LoRA|this model has no/,
  ],
  ['one layer in both layouts', { ...good, ...pair('language_model.model.encoder.layers.0.self_attn.q_proj') }, {}, /are the same layer, language_model\.encoder/], // biome-ignore format: one line
  ['a vocabulary of a different size', { ...good, 'lm_head.weight': stored([V + 1, D]) }, {}, /lm_head\.weight has shape \[\d+, \d+\], but this model needs/], // biome-ignore format: one line
  ['two different embedding tables', { 'model.language_model.shared.weight': head, 'model.language_model.decoder.embed_tokens.weight': stored([V, D], 5) }, {}, /embed_tokens\.weight differs from another tensor for language_model\.shared\.weight/], // biome-ignore format: one line
];
for (const [what, tensors, config, problem] of refused) {
  test(`refused: ${what}`, () =>
    withoutLeaks(async () => {
      const folder = await adapterFolder(tensors, config);
      await refuses(
        what,
        () => readAdapter(model, openFolder(folder)),
        join(folder, 'adapter_model.safetensors'),
        problem,
      );
    }));
}

test('refused: missing or broken files', async () => {
  const nowhere = join(temporary, 'nowhere');
  await refuses(
    'no folder',
    () => readAdapter(model, openFolder(nowhere)),
    nowhere,
    /is not a folder: an adapter is a folder/,
  );
  const empty = mkdtempSync(join(temporary, 'in-'));
  await refuses('no config', () => readAdapter(model, openFolder(empty)), 'adapter_config.json', /does not exist/);
  writeFileSync(join(empty, 'adapter_config.json'), '{"peft_type": "LORA"}');
  await refuses(
    'no weights',
    () => readAdapter(model, openFolder(empty)),
    'adapter_model.safetensors',
    /does not exist/,
  );
  writeFileSync(join(empty, 'adapter_model.safetensors'), 'no tensors');
  await refuses('broken weights', () => readAdapter(model, openFolder(empty)), 'adapter_model.safetensors', /header/);
});

test('replaced parameters are compared with the original weights, not with those of an active adapter', async () => {
  const folder = await adapterFolder({ ...good, 'lm_head.base_layer.weight': { shape: [V, D], data: shared } });
  const active = createLora(model, { targets: [q], modulesToSave: ['lm_head'] });
  const parameter = model.lmHead.weight;
  parameter.override = active.own.get('lm_head.weight')!;
  assert.equal(await read(folder, lora => [...lora.own.keys()]), []);
  parameter.override = null;
  active.dispose();
});

test.after(async () => {
  model.dispose();
  await inputs.close();
});
test.run();
