/** ONNX Runtime and transformers.js run the exported models, with the results of this package. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exportOnnx, writeModels } from '../../src/export/export_onnx.ts';
import type { OnnxDtype } from '../../src/export/onnx_weights.ts';
import { Florence2 } from '../../src/florence2.ts';
import { noHooks } from '../../src/hooks/hooks.ts';
import type { Florence2Model } from '../../src/model/florence2_model.ts';
import { readIds, readPixels } from '../../src/parity/subject.ts';
import { openFolder } from '../../src/platform/node.ts';
import { taskText } from '../../src/text/prompt.ts';
import { TASKS } from '../../src/text/tasks.ts';
import { testBackend } from '../backend.ts';
import { openSubject } from '../internals/subject.ts';
import { hasReference } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const VERSION = '4.3.1';
const packages = fileURLToPath(new URL('../../out/transformersjs', import.meta.url));
if (!existsSync(join(packages, 'node_modules/@huggingface/transformers/package.json'))) {
  mkdirSync(packages, { recursive: true });
  // Without --ignore-scripts, ONNX Runtime's install script would download CUDA's libraries.
  const args = [
    'install',
    '--prefix',
    packages,
    '--no-save',
    '--ignore-scripts',
    `@huggingface/transformers@${VERSION}`,
  ];
  execFileSync('npm', args, { stdio: 'ignore' });
}
const require = createRequire(join(packages, 'package.json'));

interface OnnxTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}
type Feeds = Record<string, OnnxTensor>;
interface Session {
  run(feeds: Feeds): Promise<Feeds>;
}
const ort = require('onnxruntime-node') as {
  InferenceSession: { create(path: string): Promise<Session> };
  Tensor: new (type: string, data: object, dims: readonly number[]) => OnnxTensor;
};

const floats = async (tensor: tf.Tensor): Promise<OnnxTensor> =>
  new ort.Tensor('float32', await tensor.data(), tensor.shape);
const longs = async (tensor: tf.Tensor): Promise<OnnxTensor> =>
  new ort.Tensor('int64', BigInt64Array.from(await tensor.data(), BigInt), tensor.shape);

/** Returns the largest difference, relative to the root mean square. */
async function difference(got: OnnxTensor, expected: tf.Tensor): Promise<number> {
  const values = await expected.data();
  let [largest, squares] = [0, 0];
  values.forEach((value, i) => {
    largest = Math.max(largest, Math.abs(value - got.data[i]));
    squares += value * value;
  });
  return largest / Math.sqrt(squares / values.length);
}

async function equal(got: OnnxTensor, expected: tf.Tensor, what: string): Promise<void> {
  assert.equal(got.dims, expected.shape, what);
  const relative = await difference(got, expected);
  assert.ok(relative <= 1e-4, `${what} differs by ${relative} of the rms`);
}

/** Compares all outputs of the four models with those of the network: an image and prompts with padding, four steps. */
async function compare(model: Florence2Model, folder: string, pixels: tf.Tensor4D, promptIds: tf.Tensor2D) {
  const open = (name: string): Promise<Session> => ort.InferenceSession.create(join(folder, `${name}.onnx`));
  const [B, T] = promptIds.shape;
  const { decoderLayers, decoderAttentionHeads: heads, dModel } = model.config.text;
  const features = model.encodeImage(pixels, noHooks);
  const planes = tf.transpose(pixels, [0, 3, 1, 2]);
  const vision = await (await open('vision_encoder')).run({ pixel_values: await floats(planes) });
  await equal(vision.image_features, features, 'image features');

  const embeds = model.languageModel.embedPrompt(promptIds);
  const embedTokens = await open('embed_tokens');
  await equal((await embedTokens.run({ input_ids: await longs(promptIds) })).inputs_embeds, embeds, 'embeddings');

  const lengths = Array.from({ length: B }, (_, row) => T - (row % 2)); // every second prompt has a padded token
  const promptMask = tf.tensor2d(lengths.map(length => Array.from({ length: T }, (_, t) => Number(t < length))), [B, T], 'int32'); // biome-ignore format: one line
  const memory = model.encodePrompt(features, promptIds, promptMask, noHooks);
  const joined = tf.concat([features, embeds], 1);
  const mask = await longs(tf.concat([tf.ones([B, features.shape[1]], 'int32'), promptMask], 1));
  const encoder = await open('encoder_model');
  const states = (await encoder.run({ inputs_embeds: await floats(joined), attention_mask: mask })).last_hidden_state;
  await equal(states, memory.states, 'hidden states');

  const decoder = await open('decoder_model_merged');
  const caches = model.compute(() => model.newCaches(memory.states, noHooks));
  const parts = ['decoder.key', 'decoder.value', 'encoder.key', 'encoder.value'];
  const names = Array.from({ length: decoderLayers }, (_, i) => i).flatMap(i => parts.map(part => `${i}.${part}`));
  const none = new ort.Tensor('float32', new Float32Array(), [B, heads, 0, dModel / heads]);
  const past = Object.fromEntries(names.map(name => [`past_key_values.${name}`, none]));
  for (let step = 0; step < 4; step++) {
    const tokens = tf.tensor2d(
      Array.from({ length: B }, (_, row) => [2 + 3 * step + row]),
      [B, 1],
      'int32',
    );
    const made = await decoder.run({
      ...{ inputs_embeds: await floats(model.languageModel.embedPrompt(tokens)), ...past },
      ...{ encoder_hidden_states: states, encoder_attention_mask: mask },
      use_cache_branch: new ort.Tensor('bool', [step > 0], [1]),
    });
    const logits = model.compute(() => model.decodeStep(tokens, memory, caches, noHooks));
    await equal(made.logits, tf.expandDims(logits, 1), `logits of step ${step}`);
    for (const [i, cache] of caches.entries()) {
      const { key, value } = cache.all();
      await equal(made[`present.${i}.decoder.key`], key, `keys ${i} of step ${step}`);
      await equal(made[`present.${i}.decoder.value`], value, `values ${i} of step ${step}`);
      if (step === 0) await equal(made[`present.${i}.encoder.key`], cache.cross.key, `keys of cross-attention ${i}`);
      if (step === 0)
        await equal(made[`present.${i}.encoder.value`], cache.cross.value, `values of cross-attention ${i}`);
    }
    for (const name of names) {
      if (step === 0 || name.includes('decoder')) past[`past_key_values.${name}`] = made[`present.${name}`];
    }
  }
}

const references = ['tiny', 'tiny-large', 'tiny-pad'].filter(name => hasReference(`model/${name}/inputs.safetensors`));
for (const variant of references) {
  for (const layout of ['hf', 'microsoft']) {
    test(`${variant}, ${layout}: ONNX Runtime computes the same`, async () => {
      const subject = await openSubject(variant, `${layout}/model.safetensors`);
      subject.model.backend = testBackend;
      const pixels = await readPixels(subject.inputs);
      const [, height, width] = pixels.shape;
      const folder = temporaryFolder();
      await writeModels(subject.model, { height, width }, 'fp32', openFolder(folder));
      const ids = await readIds(subject.inputs, 'text_input_ids');
      const [B] = ids.shape;
      const images = tf.tile(pixels.slice([0, 0, 0, 0], [1, -1, -1, -1]), [B, 1, 1, 1]) as tf.Tensor4D;
      await compare(subject.model, folder, images, ids);
      await subject.inputs.close();
      subject.model.dispose();
    });
  }
}

const picture = fileURLToPath(new URL('../../docs/scenes/scene-1.png', import.meta.url));
const { Florence2ForConditionalGeneration, AutoProcessor, RawImage, env } = await import(
  pathToFileURL(require.resolve('@huggingface/transformers')).href
);
env.allowRemoteModels = false;
env.localModelPath = '';

const florence = await Florence2.load('demo', { backend: testBackend });
const demo = join(temporaryFolder(), 'demo');
await exportOnnx(florence, demo, { dtypes: ['fp32', 'fp16', 'q8'] });
const peer = await Florence2ForConditionalGeneration.from_pretrained(demo, { dtype: 'fp32' });
const processor = await AutoProcessor.from_pretrained(demo);
const image = await RawImage.read(picture);

for (const dtype of ['fp16', 'q8']) {
  test(`demo, ${dtype}: transformers.js gives the same caption and labels`, async () => {
    const small = await Florence2ForConditionalGeneration.from_pretrained(demo, { dtype });
    for (const task of ['<CAPTION>', '<OD>'] as const) {
      const encoded = await processor(image, processor.construct_prompts(task));
      const ids = await small.generate({ ...encoded, max_new_tokens: 60, num_beams: 1 });
      const [text] = processor.batch_decode(ids, { skip_special_tokens: false });
      const { answer } = await florence.run(picture, task, { numBeams: 1 });
      const words = (text: string): string => text.replace(/<[^>]*>/g, ' ').trim();
      assert.is(words(text), words(answer));
    }
  });
}

/** Least and largest differences of the image features of tiny-pad, relative to their rms. Its weights are fp32. */
const LIMITS = { fp16: [1e-4, 0.01], q8: [1e-3, 0.2] } as const;
for (const [dtype, [least, most]] of Object.entries(LIMITS)) {
  test(`tiny-pad, ${dtype}: image features differ by less than ${most} of their rms`, async () => {
    const { model, inputs } = await openSubject();
    const pixels = await readPixels(inputs);
    await inputs.close();
    const [, height, width] = pixels.shape;
    const folder = temporaryFolder();
    await writeModels(model, { height, width }, dtype as OnnxDtype, openFolder(folder));
    const file = join(folder, `vision_encoder_${dtype === 'q8' ? 'quantized' : dtype}.onnx`);
    const vision = await ort.InferenceSession.create(file);
    const got = await vision.run({ pixel_values: await floats(tf.transpose(pixels, [0, 3, 1, 2])) });
    const off = await difference(got.image_features, model.encodeImage(pixels, noHooks));
    assert.ok(off > least && off < most, `${dtype} differs by ${off}`);
    model.dispose();
  });
}

const inputs: Record<string, { text?: string; box?: number[] }> = {
  text: { text: 'a green circle' },
  region: { box: [7, 40, 56, 88] },
  none: {},
};
for (const { task, input, answer: kind } of TASKS) {
  test(`demo, ${task}: transformers.js generates the same tokens`, async () => {
    const prompts = processor.construct_prompts(taskText(task, inputs[input], { width: 128, height: 128 }));
    const ours = await florence.run(picture, task, { ...inputs[input], numBeams: 1, maxNewTokens: 60 } as never);
    const encoded = await processor(image, prompts);
    const ids = await peer.generate({ ...encoded, max_new_tokens: 60, num_beams: 1 });
    const [text] = processor.batch_decode(ids, { skip_special_tokens: false });
    assert.is(text.replace(/<\/?s>/g, ''), (ours as { answer: string }).answer);
    if (kind === 'boxes') {
      const parsed = processor.post_process_generation(text, task, image.size)[task];
      const { boxes } = ours as { boxes: { box: number[]; label: string }[] };
      assert.equal(
        parsed.labels,
        boxes.map(({ label }) => label),
      );
      parsed.bboxes.flat().forEach((side: number, i: number) => {
        assert.ok(Math.abs(side - boxes.flatMap(({ box }) => box)[i]) < 0.01);
      });
    }
  });
}

test.run();
