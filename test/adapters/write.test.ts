import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createLora, type Lora, type LoraOptions } from '../../src/adapters/lora.ts';
import { readAdapter } from '../../src/adapters/read.ts';
import { writeAdapter } from '../../src/adapters/write.ts';
import { openFolder } from '../../src/platform/node.ts';
import { withoutLeaks } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { numbers } from '../nn/naive.ts';
import { hasReference, reference } from '../reference.ts';
import { readTensors } from '../training/tensors.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

const { model, inputs } = await openSubject();
const temporary = temporaryFolder();
const newFolder = (): string => mkdtempSync(join(temporary, 'in-'));
const layouts = ['native', 'microsoft'] as const;
const q = 'language_model.encoder.layers.0.self_attn.q_proj';

/** Returns an adapter with distinct values, as if it had been trained. */
function trained(options: LoraOptions): Lora {
  const lora = createLora(model, options);
  let seed = 1;
  for (const parameter of lora.parameters) {
    parameter.load(numbers(parameter.shape.reduce((n, d) => n * d, 1), seed++)); // biome-ignore format: one line
  }
  return lora;
}

const valuesOf = async (lora: Lora) =>
  new Map(await Promise.all(lora.parameters.map(async ({ name, value }) => [name, await value.data()] as const)));
const readJson = (folder: string) => JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8'));

const everything: LoraOptions = {
  targets: ['q_proj', 'conv', 'qkv', 'lm_head'],
  r: 3,
  alpha: 7,
  dropout: 0.25,
  rsLora: true,
  init: 'gaussian',
  rankPattern: { 'layers\\.0\\.self_attn\\.q_proj': 2 },
  alphaPattern: { lm_head: 1.5 },
};
const cases: [what: string, options: LoraOptions][] = [
  ['layers of every kind, with different ranks and alphas', everything],
  ['biases of adapted layers', { targets: ['q_proj', 'qkv'], bias: 'lora_only' }],
  ['all biases', { targets: ['q_proj', 'conv'], bias: 'all' }],
  ['modules to save', { targets: ['fc1'], modulesToSave: ['lm_head', 'decoder.layernorm_embedding', 'layers.0.fc2'] }],
  ['the embedding table', { targets: ['fc1'], modulesToSave: ['shared'] }],
];
for (const layout of layouts) {
  for (const [what, options] of cases) {
    test(`${layout}: ${what}: a written adapter is read back exactly`, () =>
      withoutLeaks(async () => {
        const folder = join(newFolder(), 'lora');
        const lora = trained(options);
        await writeAdapter(lora, folder, { layout });
        const again = await readAdapter(model, openFolder(folder));
        assert.equal([...(await valuesOf(again))].sort(), [...(await valuesOf(lora))].sort());
        assert.equal(again.settings, lora.settings);
        for (const [module, { r, alpha, scale }] of lora.layers) {
          const layer = again.layers.get(module)!;
          assert.equal([layer.r, layer.alpha, layer.scale], [r, alpha, scale], module);
        }
        lora.dispose();
        again.dispose();
      }));
  }
}

test('names are those of PEFT', async () => {
  const lora = createLora(model, { targets: [q, 'lm_head'], bias: 'lora_only', modulesToSave: ['encoder.layernorm_embedding'] }); // biome-ignore format: one line
  const prefixes = {
    native: ['model.language_model.', 'lm_head'],
    microsoft: ['language_model.model.', 'language_model.lm_head'],
  };
  for (const layout of layouts) {
    const folder = join(newFolder(), 'lora');
    await writeAdapter(lora, folder, { layout, baseModel: 'microsoft/Florence-2-base' });
    const [at, head] = prefixes[layout];
    const names = [...(await readTensors(join(folder, 'adapter_model.safetensors'))).keys()];
    assert.equal(
      names.sort(),
      [
        `base_model.model.${head}.lora_A.weight`,
        `base_model.model.${head}.lora_B.weight`,
        `base_model.model.${at}encoder.layernorm_embedding.bias`,
        `base_model.model.${at}encoder.layernorm_embedding.weight`,
        `base_model.model.${at}encoder.layers.0.self_attn.q_proj.base_layer.bias`,
        `base_model.model.${at}encoder.layers.0.self_attn.q_proj.lora_A.weight`,
        `base_model.model.${at}encoder.layers.0.self_attn.q_proj.lora_B.weight`,
      ].sort(),
    );
    const config = readJson(folder);
    assert.equal(config.target_modules.sort(), [`${at}encoder.layers.0.self_attn.q_proj`, head].sort());
    assert.equal(config.modules_to_save, [`${at}encoder.layernorm_embedding`]);
    assert.is(config.base_model_name_or_path, 'microsoft/Florence-2-base');
    assert.is(config.peft_type, 'LORA');
  }
  lora.dispose();
});

// The reference has the same adapters in both layouts, saved by PEFT.
const check = hasReference('model/tiny/lora') ? test : test.skip;
for (const name of ['basic', 'recipe', 'vision', 'rslora']) {
  check(`${name}: files of PEFT are reproduced in either layout`, async () => {
    const tiny = await openSubject('tiny');
    for (const from of ['hf', 'microsoft']) {
      const lora = await readAdapter(tiny.model, openFolder(reference(`model/tiny/lora/${name}/${from}`)));
      for (const [layout, folder] of [
        ['native', 'hf'],
        ['microsoft', 'microsoft'],
      ] as const) {
        const written = join(newFolder(), 'lora');
        await writeAdapter(lora, written, { layout });
        const want = await readTensors(reference(`model/tiny/lora/${name}/${folder}/adapter_model.safetensors`));
        want.delete('base_model.model.lm_head.base_layer.weight'); // a copy of the embedding table
        const got = await readTensors(join(written, 'adapter_model.safetensors'));
        assert.equal([...got].sort(), [...want].sort(), `${from} to ${layout}`);
        const original = JSON.parse(readFileSync(reference(`model/tiny/lora/${name}/${folder}/adapter_config.json`), 'utf8')); // biome-ignore format: one line
        const config = readJson(written);
        // Targets are listed by full name; all other fields equal PEFT's.
        for (const field of Object.keys(config).filter(field => field !== 'target_modules')) {
          assert.equal(config[field], original[field], field);
        }
      }
      lora.dispose();
    }
    tiny.model.dispose();
    await tiny.inputs.close();
  });
}

test('an existing folder keeps its other files; no temporary files remain', async () => {
  const parent = newFolder();
  const folder = join(parent, 'lora');
  mkdirSync(folder);
  writeFileSync(join(folder, 'README.md'), 'mine');
  writeFileSync(join(folder, 'adapter_config.json'), 'old');
  const lora = createLora(model, { targets: [q] });
  await writeAdapter(lora, folder);
  await writeAdapter(lora, join(parent, 'deeper', 'lora'));
  lora.dispose();
  assert.equal(readdirSync(folder).sort(), ['README.md', 'adapter_config.json', 'adapter_model.safetensors']);
  assert.equal(readdirSync(parent).sort(), ['deeper', 'lora']);
  assert.is(readJson(folder).r, 8);
});

test('a failed write leaves no files', async () => {
  const parent = newFolder();
  const lora = createLora(model, { targets: [q] });
  lora.layers.get(q)!.b.dispose();
  await refuses('an empty B', () => writeAdapter(lora, join(parent, 'lora')), 'an adapter', /has been disposed/); // biome-ignore format: one line
  lora.dispose();
  assert.equal(readdirSync(parent), []);
});

test('refused: a folder below a file', async () => {
  const file = join(newFolder(), 'file');
  writeFileSync(file, '');
  const lora = createLora(model, { targets: [q] });
  await refuses('a file', () => writeAdapter(lora, join(file, 'lora')), 'lora', /cannot be written/);
  lora.dispose();
});

test("refused: the image projection in Microsoft's layout, where it is not a module", async () => {
  const folder = join(newFolder(), 'lora');
  const lora = createLora(model, { targets: ['image_projection'] });
  await refuses(
    'layout',
    () => writeAdapter(lora, folder, { layout: 'microsoft' }),
    'image projection',
    /layout native/,
  );
  assert.not.ok(existsSync(folder));
  await writeAdapter(lora, folder);
  lora.dispose();
});

test('a calibration is written beside the adapter and read with it', () =>
  withoutLeaks(async () => {
    const lora = trained({ targets: ['fc1'] });
    lora.calibration = { '<OD>': { raw: [0.2, 0.4], calibrated: [0.5, 0.9] } };
    const folder = newFolder();
    await writeAdapter(lora, folder);
    const read = await readAdapter(model, openFolder(folder));
    assert.equal(read.calibration, lora.calibration);
    lora.dispose();
    read.dispose();
  }));

test.after(async () => {
  model.dispose();
  await inputs.close();
});
test.run();
