/** Needs a Python with the packages of tools/dump_torch.requirements.txt: FLORENCE2_PYTHON, by default python3. */
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { canonicalName } from '../../src/weights/names.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { type RandomCheckpointOptions, writeRandomCheckpoint } from '../../tools/random_checkpoint.ts';
import { florence2 } from '../cli/florence2.ts';
import { temporaryFolder } from '../weights/temporary.ts';
import { pythonLacks, runPython } from './python.ts';

const script = fileURLToPath(new URL('../../tools/dump_torch.py', import.meta.url));
const photo = fileURLToPath(new URL('../../docs/pictures/street.jpg', import.meta.url));
const drawing = fileURLToPath(new URL('../../docs/scenes/scene-3.png', import.meta.url));
const root = temporaryFolder();

const lack = pythonLacks(['torch', 'transformers', 'PIL', 'safetensors']);
if (lack) console.log(`dump_torch.py is not tested: ${lack}.`);
const withPython = lack ? test.skip : test;

const cases: [what: string, checkpoint: Partial<RandomCheckpointOptions>, image: string, asked: string[]][] = [
  ['native, a photo', { layout: 'native', dtype: 'F32' }, photo, ['--task', '<OD>']],
  ['native, in float16 and shards', { layout: 'native', shards: 3 }, drawing, ['--task', '<CAPTION>']],
  ["Microsoft's, a text", { layout: 'microsoft', seed: 3 }, photo, ['--task', '<CAPTION_TO_PHRASE_GROUNDING>', '--text', 'A green car in front.']],
  ["Microsoft's, a region", { layout: 'microsoft', seed: 1 }, photo, ['--task', '<REGION_TO_OCR>', '--text', '<loc_52><loc_334><loc_932><loc_774>']],
  ['a prompt of its own', { layout: 'native', seed: 2 }, photo, ['--task', '<DocVQA>What is the total?', '--max-new-tokens', '5']],
]; // biome-ignore format: a table

for (const [i, [what, options, image, asked]] of cases.entries()) {
  withPython(`${what}: results equal PyTorch's dump`, async () => {
    const [checkpoint, out] = [join(root, `checkpoint-${i}`), join(root, `dump-${i}`)];
    await writeRandomCheckpoint(checkpoint, { shape: 'tiny', ...options });
    const { code, stderr } = await runPython([script, checkpoint, image, out, ...asked]);
    assert.is(code, 0, stderr);
    const outcome = await florence2('parity', out, '-b', 'wasm');
    assert.is(outcome.stderr, '');
    const last = outcome.stdout.trimEnd().split('\n').at(-1)!;
    assert.is(outcome.code, 0, outcome.stdout);
    const [, equal, total] = /^(\d+) of (\d+) tensors, 2 of 2 sequences equal$/.exec(last)!.map(Number);
    assert.is(equal, total);
    assert.ok(total >= 93, `only ${total} tensors`);
    for (const name of [
      'pixel_values',
      'text_input_ids',
      'decoder.layer1.cross_attn_weights',
      'logits',
      'step0.logits',
    ]) {
      assert.match(outcome.stdout, `  ✓ ${name} `);
    }
  });
}

withPython('one changed weight is reported at its layer', async () => {
  const [source, broken] = [join(root, 'dump-0'), join(root, 'broken')];
  const checkpoint = join(root, 'broken-checkpoint');
  cpSync(source, broken, { recursive: true });
  cpSync(join(root, 'checkpoint-0'), checkpoint, { recursive: true });
  const original = await openSafetensors(join(root, 'checkpoint-0', 'model.safetensors'));
  const tensors = [];
  for (const { name, shape } of original.tensors.values()) {
    const data = await original.readFloat32(name);
    if (canonicalName(name)?.name === 'language_model.encoder.layers.1.fc2.bias') data[3] += 0.01;
    tensors.push({ name, shape, data });
  }
  await original.close();
  await writeSafetensors(join(checkpoint, 'model.safetensors'), tensors);
  const manifest = JSON.parse(readFileSync(join(broken, 'manifest.json'), 'utf8'));
  manifest.checkpoints = { [join(checkpoint, 'model.safetensors')]: { dtype: 'float32' } };
  writeFileSync(join(broken, 'manifest.json'), JSON.stringify(manifest));
  const { code, stdout } = await florence2('parity', broken, '-b', 'wasm');
  assert.is(code, 1);
  const marked = stdout.split('\n').filter(line => line.includes('◀'));
  assert.is(marked.length, 1);
  const place = /✗ encoder\.layer1\.ffn .*first difference, at language_model\.encoder\.layers\.1\.hook_mlp_out$/;
  assert.match(marked[0], place);
});

for (const [what, args, message] of [
  ['no checkpoint', ['missing', photo, '--task', '<OD>'], /^dump_torch\.py: missing is neither a folder nor a hub id/],
  ['no image', ['CHECKPOINT', script, '--task', '<OD>'], /^dump_torch\.py: .* cannot be read as an image/],
  [
    'a task that takes no text',
    ['CHECKPOINT', photo, '--task', '<OD>', '--text', 'car'],
    /^dump_torch\.py: Task token <OD> should be/,
  ],
] as [string, string[], RegExp][]) {
  // biome-ignore format: a table
  withPython(`${what} is an error of one line, and nothing is written`, async () => {
    const [model, ...rest] = args.map(arg => (arg === 'CHECKPOINT' ? join(root, 'checkpoint-0') : arg));
    const { code, stderr } = await runPython([script, model, rest[0], join(root, 'nothing'), ...rest.slice(1)]);
    assert.is(code, 1);
    assert.match(stderr, message);
    assert.is(stderr.trimEnd().split('\n').length, 1, stderr);
    assert.not.ok(readdirSync(root).includes('nothing'));
  });
}

test.run();
