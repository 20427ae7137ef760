import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Activation, difference, download } from '../../src/activations/activation.ts';
import { loadParameters } from '../../src/checkpoint/load_parameters.ts';
import { parseConfig } from '../../src/config/model.ts';
import { Florence2Error } from '../../src/errors.ts';
import { noHooks } from '../../src/hooks/hooks.ts';
import { fastestExecutor } from '../../src/model/fastest_executor.ts';
import { Florence2Model } from '../../src/model/florence2_model.ts';
import { forcedLogits, readIds, readPixels } from '../../src/parity/subject.ts';
import { canonicalCheckpoint } from '../../src/weights/canonical.ts';
import { openSafetensors, writeSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { encodeInputs, openSubject } from '../internals/subject.ts';
import { reference, referenceJson } from '../reference.ts';
import { temporaryFolder } from '../weights/temporary.ts';

const subject = await openSubject();
const { model } = subject;
const { vocabSize: V, dModel: D, maxPositionEmbeddings } = model.config.text;
const IMAGE_TOKENS = 10; // 1 + 3·3

const zeros = (...shape: number[]): tf.Tensor => tf.zeros(shape as [number]);
const close = (got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number, what: string) => {
  assert.is(got.length, want.length, what);
  const { maxAbs } = difference(got, want);
  assert.ok(maxAbs <= tolerance, `${what}: differs by ${maxAbs}, the tolerance is ${tolerance}`);
};

test('the parameters have exactly the names of the native checkpoint', () => {
  const names: { hf: string }[] = referenceJson('model/tiny-pad/names.json');
  const native = names.map(({ hf }) => hf.replace(/^model\./, ''));
  const optional = ['lm_head.weight', 'final_logits_bias', 'language_model.decoder.embed_tokens.weight'];
  const copies = /encoder\.embed_tokens\.weight$/;
  assert.equal(
    [...model.parameters.keys()].filter(name => !optional.includes(name)).sort(),
    native.filter(name => !optional.includes(name) && !copies.test(name)).sort(),
  );
});

test('a prompt may use all positions; one more token is an error', async () => {
  const fits = maxPositionEmbeddings - IMAGE_TOKENS;
  const encode = (length: number) => {
    const features = zeros(1, IMAGE_TOKENS, D) as tf.Tensor3D;
    const ids = tf.ones([1, length], 'int32') as tf.Tensor2D;
    try {
      return model.encodePrompt(features, ids, null, noHooks);
    } finally {
      tf.dispose([features, ids]);
    }
  };
  await withoutLeaks(() => {
    const { states } = encode(fits);
    assert.equal(states.shape, [1, maxPositionEmbeddings, D]);
    states.dispose();
  });
  await withoutLeaks(() => {
    assert.throws(
      () => encode(fits + 1),
      (error: unknown) =>
        error instanceof Florence2Error &&
        error.message.includes(`The prompt has ${fits + 1} tokens`) &&
        error.message.includes(`the image ${IMAGE_TOKENS}`) &&
        error.message.includes(`${maxPositionEmbeddings} positions`),
    );
  });
});

test('an answer with more tokens than positions is an error', async () => {
  await withoutLeaks(async () => {
    const memory = await encodeInputs(subject, true);
    const ids = (length: number) => tf.ones([2, length], 'int32') as tf.Tensor2D;
    const fits = tf.tidy(() => model.logits(ids(maxPositionEmbeddings), memory, noHooks));
    assert.equal(fits.shape, [2, maxPositionEmbeddings, V]);
    const more = () => tf.tidy(() => model.logits(ids(maxPositionEmbeddings + 1), memory, noHooks));
    assert.throws(more, /An answer of 49 tokens is longer than the model's 48 positions/);
    tf.dispose([fits, memory.states, memory.mask ?? []]);
  });
});

test('an image with more positions than embeddings is an error', async () => {
  const side = 32 * (model.config.vision.imagePositionEmbeddings + 1);
  const pixels = zeros(1, 32, side, 3) as tf.Tensor4D;
  await withoutLeaks(() => {
    assert.throws(() => model.encodeImage(pixels, noHooks), /map of 13×1 positions.*12 per side.*smaller image size/);
  });
  pixels.dispose();
});

test('each row of a batch has the logits that it has alone', async () => {
  const [pixels, ids, mask] = [
    await readPixels(subject.inputs),
    await readIds(subject.inputs, 'text_input_ids'),
    await readIds(subject.inputs, 'text_attention_mask'),
  ];
  const answers = await readIds(subject.inputs, 'decoder_input_ids');
  const together = await download(await forcedLogits(subject, await encodeInputs(subject, true)));
  const lengths = [4, 8]; // of the prompts
  for (const [row, length] of lengths.entries()) {
    const alone = await download(
      tf.tidy(() => {
        const features = model.encodeImage(tf.slice(pixels, [row, 0, 0, 0], [1, -1, -1, -1]), noHooks);
        const memory = model.encodePrompt(features, tf.slice(ids, [row, 0], [1, length]), null, noHooks);
        return model.logits(tf.slice(answers, [row, 0], [1, -1]), memory, noHooks);
      }),
    );
    const count = alone.values.length;
    close(alone.values, together.values.subarray(row * count, (row + 1) * count), 8e-5, `row ${row}`);
  }
  tf.dispose([pixels, ids, mask, answers]);
});

/** Writes tiny-pad's weights with some tensors added or replaced, and loads them. */
async function withTensors(extra: Record<string, { shape: number[]; data: Float32Array }>): Promise<Florence2Model> {
  const original = await openSafetensors(reference('model/tiny-pad/hf/model.safetensors'));
  const kept = [];
  for (const { name, shape } of original.tensors.values()) kept.push({ name, shape, data: await original.readFloat32(name) }); // biome-ignore format: one line
  await original.close();
  const path = join(temporaryFolder(), 'model.safetensors');
  const added = Object.entries(extra).map(([name, tensor]) => ({ name, ...tensor }));
  await writeSafetensors(path, [...kept.filter(({ name }) => !(name in extra)), ...added]);
  const file = await openSafetensors(path);
  const changed = new Florence2Model(model.config);
  await loadParameters(changed, await canonicalCheckpoint(file)).finally(() => file.close());
  changed.executor = await fastestExecutor(changed);
  return changed;
}

const logitsOf = async (other: Florence2Model): Promise<Activation> => {
  const changed = { ...subject, model: other };
  return download(await forcedLogits(changed, await encodeInputs(changed, true)));
};
const shared = await (async () => {
  const file = await openSafetensors(reference('model/tiny-pad/hf/model.safetensors'));
  return file.readFloat32('model.language_model.shared.weight').finally(() => file.close());
})();
const head = (data: Float32Array) => ({ 'lm_head.weight': { shape: [V, D], data } });

test('a head equal to the token embeddings is tied', async () => {
  const tied = await withTensors(head(shared.slice()));
  assert.not.ok(tied.lmHead.weight.loaded);
  assert.equal((await logitsOf(tied)).values, (await logitsOf(model)).values);
  tied.dispose();
});

test('a separate head is kept and used only for logits', async () => {
  const own = await withTensors(head(shared.map(x => -2 * x)));
  assert.ok(own.lmHead.weight.loaded);
  const [got, plain] = [await logitsOf(own), await logitsOf(model)];
  // The embeddings and so the hidden states are unchanged; each logit is multiplied by -2.
  close(got.values, plain.values.map(x => -2 * x), 1e-6, 'logits'); // biome-ignore format: one line
  own.dispose();
});

test('final_logits_bias is added to every position', async () => {
  const bias = Float32Array.from({ length: V }, (_, i) => Math.sin(i));
  const biased = await withTensors({ final_logits_bias: { shape: [1, V], data: bias } });
  const [got, plain] = [await logitsOf(biased), await logitsOf(model)];
  close(got.values, plain.values.map((x, i) => x + bias[i % V]), 1e-6, 'logits'); // biome-ignore format: one line
  biased.dispose();
});

test('token embeddings are scaled if config.json has scale_embedding', async () => {
  const json = referenceJson('model/tiny-pad/hf/config.json');
  const scaling = new Florence2Model(parseConfig({ ...json, text_config: { ...json.text_config, scale_embedding: true } })); // biome-ignore format: one line
  const file = await openSafetensors(reference('model/tiny-pad/hf/model.safetensors'));
  await loadParameters(scaling, await canonicalCheckpoint(file)).finally(() => file.close());
  const row = await download(tf.tidy(() => scaling.languageModel.embedPrompt(tf.tensor2d([[7]], [1, 1], 'int32'))));
  close(row.values, shared.subarray(7 * D, 8 * D).map(x => x * Math.sqrt(D)), 1e-5, 'embedding'); // biome-ignore format: one line
  scaling.dispose();
});

test('dispose frees all tensors of a model', async () => {
  await withoutLeaks(async () => {
    const other = await withTensors({});
    await logitsOf(other);
    other.dispose();
    other.dispose(); // a second call does nothing
  });
});

test('the error of a model without weights names the parameter', () => {
  const empty = new Florence2Model(model.config);
  const pixels = zeros(1, 96, 96, 3) as tf.Tensor4D;
  assert.throws(() => empty.encodeImage(pixels, noHooks), /vision_tower\.convs\.0\.conv\.weight has not been loaded/);
  pixels.dispose();
});

test.run();
