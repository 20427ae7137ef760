import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig } from '../../src/checkpoint/load_config.ts';
import { loadTokenizer } from '../../src/checkpoint/tokenizer_files.ts';
import { parseConfig } from '../../src/config/model.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import { openFolder } from '../../src/platform/node.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { FLORENCE2_TOKENS } from '../../src/text/tokenizer_json.ts';
import { type CanonicalCheckpoint, canonicalCheckpoint } from '../../src/weights/canonical.ts';
import { openCheckpoint } from '../../src/weights/checkpoint.ts';
import { elementCount } from '../../src/weights/tensor_file.ts';
import { configJson, shapes } from '../../tools/checkpoint_shapes.ts';
import { type RandomCheckpointOptions, writeRandomCheckpoint } from '../../tools/random_checkpoint.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const root = temporaryFolder();
const demo = fileURLToPath(new URL('../../weights/demo', import.meta.url));

async function write(name: string, options: Partial<RandomCheckpointOptions>): Promise<string> {
  const folder = join(root, name);
  await writeRandomCheckpoint(folder, options);
  return folder;
}

const open = async (folder: string): Promise<CanonicalCheckpoint> =>
  canonicalCheckpoint(await openCheckpoint(openFolder(folder)));

/** Returns the first index at which two tensors differ by more than the tolerance, or -1. */
const differs = (a: Float32Array, b: Float32Array, tolerance: number): number =>
  a.findIndex((x, i) => !(Math.abs(x - b[i]) <= tolerance * Math.max(Math.abs(x), 2 ** -14)));

/** Asserts that the checkpoint has exactly the tensors of its config's model. */
async function checkComplete(folder: string): Promise<void> {
  const { config } = await loadConfig(openFolder(folder));
  const { parameters } = new Florence2Model(config);
  const checkpoint = await open(folder);
  for (const { name, shape, optional } of parameters.values()) {
    const found = checkpoint.tensors.get(name);
    if (found || !optional) assert.equal(found?.shape, shape, name);
  }
  for (const name of checkpoint.tensors.keys()) assert.ok(parameters.has(name), name);
  await checkpoint.close();
}

test('one seed has the same weights in all layouts, types and shards', async () => {
  const plain = await open(await write('plain', { dtype: 'F32' }));
  const variants: [name: string, options: Partial<RandomCheckpointOptions>, tolerance: number][] = [
    ['again', { dtype: 'F32' }, 0],
    ['half', {}, 2 ** -11],
    ['sharded', { dtype: 'F32', shards: 3 }, 0],
    ['native', { dtype: 'F32', layout: 'native' }, 0],
    ['native-shards', { layout: 'native', shards: 2 }, 2 ** -11],
  ];
  for (const [name, options, tolerance] of variants) {
    const folder = await write(name, options);
    await checkComplete(folder);
    const shardCount = readdirSync(folder).filter(file => /^model-.*\.safetensors$/.test(file)).length;
    assert.is(shardCount, options.shards ?? 0, name);
    const checkpoint = await open(folder);
    for (const { name: tensor, shape } of plain.tensors.values()) {
      if (tensor === 'final_logits_bias' && options.layout === 'native') continue;
      // Native vocabularies have more rows. The common rows come from the same random sequence.
      const [a, b] = [await plain.readFloat32(tensor), await checkpoint.readFloat32(tensor)];
      if (options.layout !== 'native') assert.is(b.length, a.length, `${name}: ${tensor}`);
      const at = differs(a, b.subarray(0, elementCount(shape)), tolerance);
      assert.is(at, -1, `${name}: ${tensor}[${at}] is ${b[at]}, not ${a[at]}`);
    }
    await checkpoint.close();
  }
  const other = await open(await write('other', { dtype: 'F32', seed: 1 }));
  const name = 'vision_tower.convs.0.conv.weight';
  assert.not.equal(await other.readFloat32(name), await plain.readFloat32(name), 'another seed');
  await other.close();
  await plain.close();
});

test('norms are 1, matrices are scaled by their fan-in, and no two tensors are equal', async () => {
  const checkpoint = await open(join(root, 'plain'));
  const moments = async (name: string) => {
    const values = await checkpoint.readFloat32(name);
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    return { mean, deviation: Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length) };
  };
  const cases: [name: string, mean: number, deviation: number][] = [
    ['vision_tower.blocks.1.0.spatial_block.norm1.weight', 1, 0],
    ['vision_tower.blocks.3.0.spatial_block.window_attn.proj.weight', 0, 1 / Math.sqrt(112)],
    ['vision_tower.convs.2.conv.weight', 0, 1 / Math.sqrt(48 * 9)],
    ['multi_modal_projector.image_projection.weight', 0, 1 / Math.sqrt(112)],
    ['language_model.decoder.layers.1.encoder_attn.q_proj.weight', 0, 2 / Math.sqrt(80)],
    ['language_model.encoder.layers.0.fc2.weight', 0, 2 / Math.sqrt(320)],
    ['language_model.shared.weight', 0, 2 / Math.sqrt(80)],
  ];
  for (const [name, mean, deviation] of cases) {
    const found = await moments(name);
    assert.ok(Math.abs(found.mean - mean) <= 0.05 * deviation, `${name}: mean ${found.mean}`);
    assert.ok(Math.abs(found.deviation - deviation) <= 0.05 * deviation, `${name}: deviation ${found.deviation}`);
  }
  const firsts = new Set<number>();
  const matrices = [...checkpoint.tensors.values()].filter(
    ({ shape, name }) => shape.length > 1 && !/bias|pos_idx/.test(name),
  );
  for (const { name } of matrices) firsts.add((await checkpoint.readFloat32(name))[0]);
  assert.ok(firsts.size > 0.9 * matrices.length);
  await checkpoint.close();
});

test('the tiny tokenizer encodes prompts in few tokens, and any text without loss', async () => {
  const folder = join(root, 'plain');
  const tokenizer = await loadTokenizer(openFolder(folder));
  const { config } = await loadConfig(openFolder(folder));
  assert.is(tokenizer.tokenToId('<and>'), config.text.vocabSize - 1, "the last token has the vocabulary's last id");
  assert.equal(
    ['<s>', '<pad>', '</s>', '<unk>'].map(token => tokenizer.tokenToId(token)),
    [0, 1, 2, 3],
  );
  const first = tokenizer.tokenToId('<od>')!;
  assert.equal(
    FLORENCE2_TOKENS.map(token => tokenizer.tokenToId(token)),
    FLORENCE2_TOKENS.map((_, i) => first + i),
  );
  for (const task of TASKS) {
    const prompt = task.prompt.replace('{input}', '');
    const ids = tokenizer.encode(prompt);
    assert.ok(ids.length <= prompt.length / 2, `${prompt}: ${ids.length} tokens`);
    assert.is(tokenizer.decode(ids, { skipSpecialTokens: true }), prompt);
  }
  for (const text of ['Überraschung 你好 🙂', 'a\tb\n\n  c', '<loc_0><loc_999></poly>x', '']) {
    assert.is(tokenizer.decode(tokenizer.encode(text, { addSpecialTokens: false })), text);
  }
});

test('base and large have the sizes of the published models', () => {
  // Millions of parameters on the cards of microsoft/Florence-2-base and -large, rounded there to 0.23B and 0.77B.
  for (const [name, millions] of [
    ['base', 230],
    ['large', 770],
  ] as const) {
    for (const layout of ['microsoft', 'native'] as const) {
      const { parameters } = new Florence2Model(parseConfig(configJson(shapes[name], layout, 51289, 'float16')));
      const required = [...parameters.values()].filter(({ optional }) => !optional);
      const count = required.reduce((sum, { shape }) => sum + elementCount(shape), 0);
      assert.ok(Math.abs(count / 1e6 - millions) < 6, `${name}, ${layout}: ${count}`);
    }
  }
});

test('weights/demo is complete and small', async () => {
  await checkComplete(demo);
  await loadTokenizer(openFolder(demo));
  assert.ok(existsSync(join(demo, 'README.md')));
  assert.ok(statSync(join(demo, 'model.safetensors')).size < 20_000_000);
  const { config, generation, preprocessor } = await loadConfig(openFolder(demo));
  assert.is(config.dialect, 'microsoft');
  assert.is(generation.numBeams, 1);
  assert.is(preprocessor.height, preprocessor.width);
});

test.run();
