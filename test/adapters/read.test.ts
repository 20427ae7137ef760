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

/** A PEFT folder with these tensors, below `base_model.model.`, and these fields of the config. */
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

/** Reads an adapter, and gives what `look` finds in it before it is freed. */
const read = <T>(folder: string, look: (lora: Awaited<ReturnType<typeof readAdapter>>) => T | Promise<T>): Promise<T> =>
  withoutLeaks(async () => {
    const lora = await readAdapter(model, openFolder(folder));
    return Promise.resolve(look(lora)).finally(() => lora.dispose());
  });

test('patterns of ranks are matched to names as the file has them', async () => {
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

test('a target that matches nothing is no error when the adapter comes from Python', async () => {
  const folder = await adapterFolder(good, { target_modules: ['q_proj', 'o_proj', 'Conv2d'] });
  assert.equal(await read(folder, lora => [...lora.layers.keys()]), [q]);
});

test('half precision is widened', async () => {
  const data = Float32Array.of(0.1, -3, 65504, 1e-6);
  const a = { shape: [2, D], data: new Float32Array(2 * D).map((_, i) => data[i % 4]), dtype: 'F16' as const };
  const folder = await adapterFolder({ ...good, [`model.${q}.lora_A.weight`]: a });
  const values = await read(folder, async lora => {
    const ordered = lora.parameters[0].inCheckpointOrder(lora.parameters[0].value);
    return (await ordered.data().finally(() => ordered.dispose())) as Float32Array;
  });
  assert.equal([...values.slice(0, 4)], [0.0999755859375, -3, 65504, 1.0132789611816406e-6]);
});

test('adapter_model.bin is read where there are no safetensors', async () => {
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
    'a copy of the table beside an adapted head',
    { 'lm_head.base_layer.weight': { shape: [V, D], data: shared } },
    {},
    [],
  ],
  ['another base under an adapted, tied head: it is the table', { 'lm_head.base_layer.weight': head }, {}, ['language_model.shared.weight']], // biome-ignore format: one line
  ['a head that was trained whole', { 'lm_head.weight': head }, { modules_to_save: ['lm_head'] }, ['lm_head.weight']],
  ['a resized table, saved with its tied head', { 'model.language_model.shared.weight': head, 'lm_head.weight': head }, {}, ['language_model.shared.weight']], // biome-ignore format: one line
  ['a table and a head of its own', { 'model.language_model.shared.weight': head, 'lm_head.weight': stored([V, D], 4) }, {}, ['language_model.shared.weight', 'lm_head.weight']], // biome-ignore format: one line
  ["Microsoft's transposed projection", { image_projection: stored([model.config.vision.dimEmbed.at(-1)!, D]) }, {}, ['multi_modal_projector.image_projection.weight']], // biome-ignore format: one line
  ['a bias of an adapted layer', { [`model.${q}.base_layer.bias`]: stored([D]) }, { bias: 'lora_only' }, [`${q}.bias`]],
];
for (const [what, tensors, config, names] of own) {
  test(`values of its own: ${what}`, async () => {
    const folder = await adapterFolder({ ...good, ...tensors }, config);
    assert.equal(await read(folder, lora => [...lora.own.keys()]), names);
  });
}

const without = (name: string): Tensors => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));
const [aName, bName] = Object.keys(good);
const refused: [what: string, tensors: Tensors, config: object, problem: RegExp][] = [
  ['no tensors', {}, {}, /holds no LoRA tensors/],
  ['A without B', without(bName), {}, /has lora_A of model\..*q_proj, but not lora_B/],
  ['B without A', without(aName), {}, /has lora_B of model\..*q_proj, but not lora_A/],
  [
    'another rank than the config says',
    good,
    { r: 4 },
    /lora_A\.weight has rank 2, but adapter_config\.json makes it 4/,
  ],
  ['B of another rank', { ...good, [bName]: stored([D, 3]) }, {}, /lora_B\.weight has shape \[\d+, 3\], but for this model it would be \[\d+, 2\]/], // biome-ignore format: one line
  ['A of another model', pair(`model.${q}`, 2, D + 1), {}, /lora_A\.weight has shape \[2, \d+\], but for this model/],
  ['A of too many axes', { ...good, [aName]: stored([2, D, 1, 1]) }, {}, /lora_A\.weight has shape \[2, \d+, 1, 1\]/],
  ['A without axes', { ...good, [aName]: stored([]) }, {}, /lora_A\.weight has shape \[\]/],
  ['a layer that the model does not have', pair(`model.${q.replace('layers.0', 'layers.9')}`), {}, /adapts model\.language_model\.encoder\.layers\.9.*; this model has no Linear or Conv2d of that name/], // biome-ignore format: one line
  [
    'a layer norm',
    pair('model.language_model.encoder.layernorm_embedding'),
    {},
    /layernorm_embedding; this model has no/,
  ],
  ['the embeddings', pair('model.language_model.shared'), {}, /shared; this model has no Linear or Conv2d/],
  [
    'another kind of model',
    pair('model.layers.0.self_attn.q_proj'),
    {},
    /is no tensor of a LoRA adapter for Florence-2/,
  ],
  ['a DoRA magnitude', { ...good, [`model.${q}.lora_magnitude_vector`]: stored([D]) }, {}, /lora_magnitude_vector is no tensor of a LoRA/], // biome-ignore format: one line
  ['an embedding adapter', { ...good, 'model.language_model.shared.lora_embedding_A': stored([2, V]) }, {}, /lora_embedding_A is no tensor of a LoRA/], // biome-ignore format: one line
  [
    "the adapter's name in the names",
    pair(`model.${q}.lora_A.default`),
    {},
    /is no tensor of a LoRA|this model has no/,
  ],
  ['one layer in both layouts', { ...good, ...pair('language_model.model.encoder.layers.0.self_attn.q_proj') }, {}, /are both language_model\.encoder/], // biome-ignore format: one line
  ['another vocabulary', { ...good, 'lm_head.weight': stored([V + 1, D]) }, {}, /lm_head\.weight has shape \[\d+, \d+\], but for this model/], // biome-ignore format: one line
  ['tables of embeddings that PEFT has untied', { ...good, 'model.language_model.shared.weight': head }, { modules_to_save: ['shared'] }, /shared\.weight is a table of embeddings apart/], // biome-ignore format: one line
  ['two different tables', { 'model.language_model.shared.weight': head, 'model.language_model.decoder.embed_tokens.weight': stored([V, D], 5) }, {}, /embed_tokens\.weight differs from another tensor that is language_model\.shared\.weight/], // biome-ignore format: one line
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

test('refused: what is not there', async () => {
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

test('an adapter is compared with what the model is without others', async () => {
  // A head of an active adapter is in the way of nothing.
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
