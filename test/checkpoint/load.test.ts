import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeCheckpoint } from '../../src/checkpoint/write.ts';
import { Florence2 } from '../../src/florence2.ts';
import { openFolder } from '../../src/platform/node.ts';
import { testBackend } from '../backend.ts';
import { tinyCheckpoint } from '../tiny_checkpoint.ts';
import { refuses, temporaryFolder } from '../weights/temporary.ts';

interface Json {
  vision_config: { window_size: number };
  added_tokens: object[];
}

/** Returns a checkpoint with a JSON file changed. */
async function changed(file: string, edit: (json: Json) => void): Promise<string> {
  const folder = await tinyCheckpoint();
  const path = join(folder, file);
  const json = JSON.parse(readFileSync(path, 'utf8')) as Json;
  edit(json);
  writeFileSync(path, JSON.stringify(json));
  return folder;
}

const load = (folder: string, signal?: AbortSignal) => Florence2.load(folder, { backend: testBackend, signal });

test('a window larger than the map is refused', async () => {
  const folder = await changed('config.json', json => {
    json.vision_config.window_size = 100_000;
  });
  const problem =
    /^vision_config\.window_size is 100000, larger than the largest map of an image of \d+×\d+, which is \d+×\d+\.$/;
  await refuses('window', () => load(folder), 'window_size', problem);
});

test('a tokenizer with ids beyond the embedding table is refused', async () => {
  const folder = await changed('tokenizer.json', json => {
    json.added_tokens.push({ id: 99_999, content: '<far>', special: true });
  });
  await refuses(
    'ids',
    () => load(folder),
    folder,
    /has the token "<far>" with id 99999, but the embedding table of config\.json has \d+ rows\.$/,
  );
});

test('an aborted signal ends loading with its reason', async () => {
  const folder = await tinyCheckpoint();
  const reason = new Error('enough');
  assert.is(await load(folder, AbortSignal.abort(reason)).catch(error => error), reason);
  const controller = new AbortController();
  const onProgress = () => controller.abort(reason);
  const options = { backend: testBackend, signal: controller.signal, onProgress };
  assert.is(await Florence2.load(folder, options).catch(error => error), reason);
});

test('a checkpoint without a tokenizer takes it, and the settings of images, from another one', async () => {
  const [folder, other] = [await tinyCheckpoint(), await tinyCheckpoint()];
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'preprocessor_config.json']) {
    rmSync(join(folder, name), { force: true });
  }
  const advice = /has neither tokenizer\.json nor .* with the option processor \(--processor\), such as microsoft/;
  await refuses('tokenizer', () => load(folder), folder, advice);
  const path = join(other, 'preprocessor_config.json');
  const settings = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...settings, image_mean: [0.25, 0.5, 0.75] }));
  const model = await Florence2.load(folder, { backend: testBackend, processor: other });
  assert.equal(model.preprocessor.imageMean, [0.25, 0.5, 0.75]);
  assert.is(model.tokenizer.source, other);
  const copy = join(folder, 'copy');
  await writeCheckpoint(model, openFolder(copy));
  model.dispose();
  const again = await Florence2.load(copy, { backend: testBackend });
  assert.equal(again.preprocessor.imageMean, [0.25, 0.5, 0.75]);
  again.dispose();
});

test("an adapter's folder given as a checkpoint is recognised", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'adapter_config.json'), '{"base_model_name_or_path":"owner/base"}');
  await refuses(
    'adapter',
    () => load(folder),
    folder,
    /is an adapter of owner\/base: load that model, then the adapter/,
  );
});

for (const [what, settings, method] of [
  ['bitsandbytes', { quantization_config: { quant_method: 'bitsandbytes', load_in_4bit: true } }, '"bitsandbytes"'],
  ['GPTQ', { quantization_config: { quant_method: 'gptq', bits: 4 } }, '"gptq"'],
  ['AWQ', { quantization_config: { quant_method: 'awq' } }, '"awq"'],
  ['fp8', { quantization_config: { quant_method: 'fp8' } }, '"fp8"'],
  ['MLX', { quantization: { group_size: 64, bits: 4 } }, 'MLX'],
] as const) {
  test(`weights quantised by ${what} are called quantised`, async () => {
    const folder = await changed('config.json', json => Object.assign(json, settings));
    const problem = new RegExp(
      `config\\.json: the weights are quantised \\(${method}\\), .* load the original checkpoint`,
    );
    await refuses(what, () => load(folder), folder, problem);
  });
}

test.run();
