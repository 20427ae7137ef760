/** Logit lens and alternatives. */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { UsageError } from '../../src/errors.ts';
import type { Florence2 } from '../../src/florence2.ts';
import { captureForced, forcedLogits } from '../../src/internals/forced_pass.ts';
import { alternatives, type LensLayer, lensLogits, logitLens } from '../../src/internals/logit_lens.ts';
import { Question } from '../../src/internals/question.ts';
import { tensorTolerance } from '../../src/parity/tolerance.ts';
import { openSafetensors } from '../../src/weights/safetensors_file.ts';
import { withoutLeaks } from '../backend.ts';
import { reference, wholeReference } from '../reference.ts';
import { openSubject } from './subject.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const { text } = model.config;
const free = { maxNewTokens: 8, forcedBosTokenId: null, forcedEosTokenId: null, noRepeatNgramSize: 0, numBeams: 1 };
const question = await Question.ask(model, street, '<CAPTION>', free);
const [T, V] = [question.answerIds.length, text.vocabSize];
const last = text.decoderLayers - 1;
const residPost = (layer: number) => `language_model.decoder.layers.${layer}.hook_resid_post`;

// Non-zero, unlike in published checkpoints, so that code which ignores it fails.
const { lmHead } = model.model;
lmHead.finalLogitsBias.load(Float32Array.from({ length: V }, (_, i) => Math.sin(i)));

const read = async (tensor: tf.Tensor): Promise<Float32Array> => (await download(tensor)).values;

/** Layers, and the hook points that their lenses read. */
const points: [LensLayer, string][] = [
  ['embedding', 'language_model.decoder.layers.0.hook_resid_pre'],
  ...Array.from({ length: text.decoderLayers }, (_, i) => [i, residPost(i)] as [LensLayer, string]),
];

/** Applies the head to hidden states [T, D] in float64. */
async function plainLogits(hidden: Float32Array): Promise<Float64Array[]> {
  const table = await model.model.languageModel.shared.weight.value.data();
  const bias = await lmHead.finalLogitsBias.value.data();
  const D = text.dModel;
  return Array.from({ length: hidden.length / D }, (_, t) =>
    Float64Array.from({ length: V }, (_, v) => {
      let sum = bias[v];
      for (let d = 0; d < D; d++) sum += hidden[t * D + d] * table[v * D + d];
      return sum;
    }),
  );
}

test("at every layer the lens equals the head applied to the layer's output", async () => {
  const cache = captureForced(model, question, points.map(([, point]) => point)); // biome-ignore format: one line
  const readings = await withoutLeaks(() => logitLens(model, question, { top: 7 }));
  assert.equal(
    readings.map(({ layer }) => layer),
    points.map(([layer]) => layer),
  );
  for (const [i, [layer, point]] of points.entries()) {
    const rows = await plainLogits((await cache.array(point)).values);
    assert.is(readings[i].predictions.length, T);
    for (const [t, { top, answer, entropy }] of readings[i].predictions.entries()) {
      const what = `layer ${layer}, position ${t}`;
      const highest = Math.max(...rows[t]);
      const mass = rows[t].reduce((sum, x) => sum + Math.exp(x - highest), 0);
      const probabilities = rows[t].map(x => Math.exp(x - highest) / mass);
      const order = [...probabilities.keys()].sort((a, b) => rows[t][b] - rows[t][a] || a - b);
      assert.equal(top.map(({ token }) => token), order.slice(0, 7), what); // biome-ignore format: one line
      for (const { token, probability } of [...top, answer]) {
        const off = Math.abs(probability / probabilities[token] - 1);
        assert.ok(off < 1e-4, `${what}: ${token} has ${probability}, expected ${probabilities[token]}`);
      }
      assert.is(answer.token, question.answerIds[t]);
      assert.is(answer.rank, 1 + order.indexOf(question.answerIds[t]), what);
      const own = -probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0);
      assert.ok(Math.abs(entropy - own) < 1e-4, `${what}: entropy ${entropy}, expected ${own}`);
      assert.is(top[0].text, model.tokenizer.decode([top[0].token]));
    }
  }
  cache.dispose();
});

test("the lens of the last layer equals the model's predictions bit by bit", async () => {
  await withoutLeaks(async () => {
    const cache = captureForced(model, question, residPost(last));
    const lens = await read(lensLogits(model, cache.get(residPost(last)) as tf.Tensor3D));
    assert.equal(lens, await read(forcedLogits(model, question)));
    cache.dispose();
    const [{ layer, predictions }] = await logitLens(model, question, { layers: [last] });
    assert.is(layer, last);
    assert.equal(predictions, await alternatives(model, question));
  });
});

test('the lens of a layer equals the model whose later layers do nothing', async () => {
  for (const [layer, point] of points) {
    await withoutLeaks(async () => {
      const cache = captureForced(model, question, point);
      const hidden = cache.get(point);
      const lens = (await logitLens(model, question, { layers: [layer] }))[0].predictions;
      const cut = await alternatives(model.withHooks([[residPost(last), () => tf.clone(hidden)]]), question);
      assert.equal(cut, lens, String(layer));
      cache.dispose();
    });
  }
});

test("the lens runs with the model's hooks", async () => {
  const off = 'language_model.decoder.layers.0.hook_cross_attn_out';
  const [plain, blind] = [
    await logitLens(model, question, { layers: ['embedding', 0] }),
    await logitLens(model.withHooks([[off, x => tf.zerosLike(x)]]), question, { layers: ['embedding', 0] }),
  ];
  assert.equal(blind[0], plain[0]);
  assert.not.equal(blind[1], plain[1]);
});

test('alternatives have the probabilities of the generation', async () => {
  const features = await model.encodeImage(street);
  const [[{ ids, logProbs }]] = await model.generate([features], ['What does the image describe?'], free);
  features.dispose();
  const said = await withoutLeaks(() => alternatives(model, question, { top: 3 }));
  logProbs.forEach((logProb, t) => {
    const { top, answer, entropy } = said[t];
    assert.is(top.length, 3);
    assert.is(top[0].token, ids[t + 1], 'greedy search chooses the first');
    assert.is(answer.rank, 1);
    assert.equal({ ...top[0], rank: 1 }, answer);
    assert.ok(Math.abs(Math.log(answer.probability) - logProb) < 1e-4, `position ${t}`);
    assert.ok(top[1].probability <= top[0].probability && top[2].probability <= top[1].probability);
    assert.ok(entropy > 0 && entropy < Math.log(V));
  });
  // With a given answer, its tokens have their own ranks.
  const other = await Question.ask(model, street, '<CAPTION>', { answer: [5, 6] });
  const [first] = await alternatives(model, other, { top: V });
  assert.is(first.top[first.answer.rank - 1].token, 5);
  const total = first.top.reduce((sum, { probability }) => sum + probability, 0);
  assert.ok(Math.abs(total - 1) < 1e-9, `all probabilities sum to ${total}`);
  other.dispose();
});

for (const variant of ['tiny-pad', ...(wholeReference ? ['tiny', 'tiny-large'] : [])]) {
  test(`${variant}: lensLogits of PyTorch's last hidden states equals PyTorch's logits`, async () => {
    const subject = await openSubject(variant);
    await withoutLeaks(async () => {
      const dump = await openSafetensors(reference(`model/${variant}/text.safetensors`));
      const { decoderLayers } = subject.model.config.text;
      const name = `decoder.layer${decoderLayers - 1}.out`;
      const shape = dump.tensors.get(name)!.shape as [number, number, number];
      const hidden = tf.tensor3d(await dump.readFloat32(name), shape);
      const got = await read(lensLogits(subject as unknown as Florence2, hidden));
      const logits = subject.manifest.files.get('text.safetensors')!.find(tensor => tensor.name === 'logits')!;
      const { maxAbs } = difference(got, await dump.readFloat32('logits'));
      assert.ok(maxAbs <= tensorTolerance(logits)!, `logits differ by ${maxAbs}`);
      hidden.dispose();
      await dump.close();
    });
    subject.model.dispose();
    await subject.inputs.close();
  });
}

test('wrong arguments are errors that list the valid ones', async () => {
  for (const [ask, message] of [
    [
      () => logitLens(model, question, { layers: [last + 1] }),
      /Layer \d does not exist; the lens reads layers 0 to \d and 'embedding'/,
    ],
    [() => logitLens(model, question, { top: 0 }), /top must be a whole number of at least 1, not 0/],
    [() => alternatives(model, question, { top: 1.5 }), /top must be a whole number of at least 1, not 1\.5/],
  ] as [() => Promise<unknown>, RegExp][]) {
    await withoutLeaks(async () => {
      const error = (await ask().catch(error => error)) as Error;
      assert.instance(error, UsageError, String(message));
      assert.match(error.message, message);
    });
  }
});

test.run();
