/** Questions, forced passes and metrics. */
import * as tf from '@tensorflow/tfjs';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { difference, download } from '../../src/activations/activation.ts';
import { UsageError } from '../../src/errors.ts';
import { captureForced, type ForcedOptions, forcedLogits } from '../../src/internals/forced_pass.ts';
import { hookPoints } from '../../src/internals/hook_points.ts';
import { answerLogProb, logitDifference, logitOf } from '../../src/internals/logit_metrics.ts';
import { type PassStart, Question } from '../../src/internals/question.ts';
import { withoutLeaks } from '../backend.ts';
import { openTiny, street } from './tiny_model.ts';

const model = await openTiny();
const free = { maxNewTokens: 8, forcedBosTokenId: null, forcedEosTokenId: null, noRepeatNgramSize: 0 };
const question = await Question.ask(model, street, '<CAPTION>', free);
const T = question.answerIds.length;

const read = async (tensor: tf.Tensor): Promise<Float32Array> => (await download(tensor)).values;
const logits = (options?: ForcedOptions, hooked = model) => read(forcedLogits(hooked, question, options));
const clean = await logits();

test('the box of an image that is read upright is in pixels of the stored image', async () => {
  const upright = await sharp(street).png().toBuffer(); // 768 x 512
  const turned = await sharp(upright).rotate(-90).withMetadata({ orientation: 6 }).png().toBuffer();
  const answer = '<s></s>';
  const task = '<REGION_TO_CATEGORY>';
  const expected = await Question.ask(model, upright, task, { box: [10, 20, 300, 200], answer });
  const asked = await Question.ask(model, turned, task, { box: [20, 468, 200, 758], answer, orientation: 'apply' });
  assert.equal(asked.promptIds, expected.promptIds);
  assert.equal(asked.imageSize, { width: 768, height: 512 });
  expected.dispose();
  asked.dispose();
});

test('the default answer is the greedy one, and the tensors have the shapes of one image', async () => {
  const features = await model.encodeImage(street);
  const [[{ ids, logProbs }]] = await model.generate([features], ['What does the image describe?'], {
    ...free,
    numBeams: 1,
  });
  const ended = ids.at(-1) === 2 ? ids.slice(1) : [...ids.slice(1), 2];
  assert.equal(question.answerIds, ended);
  assert.equal(question.decoderIds, [2, ...ended.slice(0, -1)]);
  assert.equal(question.imageSize, { width: 768, height: 512 });
  assert.equal(question.promptIds, model.tokenizer.encode('What does the image describe?'));
  assert.equal(question.pixels.shape, [1, 96, 96, 3]);
  assert.equal(question.features.shape, [1, 10, 80]);
  assert.equal(question.memory.shape, [1, 10 + question.promptIds.length, 80]);
  const apart = difference(await question.features.data(), await features.tensor.data()).maxAbs;
  assert.ok(apart <= 2e-5, `${apart}`); // with hooks and without, the order of sums may differ
  const cells = [0, 1, 2].flatMap(row => [0, 1, 2].map(column => `${row},${column}`));
  assert.equal(question.positions, ['mean', ...cells, ...model.tokenizer.tokenTexts(question.promptIds)]);
  assert.is(question.positions.length, question.memory.shape[1]);

  // A single pass over all positions returns the same log-probabilities as the generation steps.
  const V = clean.length / T;
  logProbs.forEach((logProb, t) => {
    const row = clean.subarray(t * V, (t + 1) * V);
    const highest = row.reduce((a, b) => Math.max(a, b));
    assert.is(row[ids[t + 1]], highest, `position ${t}`);
    const own = highest - Math.log(row.reduce((sum, x) => sum + Math.exp(x - highest), 0)) - highest;
    assert.ok(Math.abs(own - logProb) < 1e-4, `position ${t}: ${own}, in the generation ${logProb}`);
  });
  const total = await read(tf.tidy(() => answerLogProb()(forcedLogits(model, question), question)));
  const said = logProbs.reduce((a, b) => a + b);
  if (ids.at(-1) === 2) assert.ok(Math.abs(total[0] - said) < 1e-4);
  else assert.ok(total[0] < said, '</s> has a probability below 1');
  features.dispose();
});

for (const [what, answer, expected] of [
  ['a text', 'A car', [0, ...model.tokenizer.encode('A car', { addSpecialTokens: false }), 2]],
  ['a text with locations', 'car<loc_10><loc_999>', model.tokenizer.encode('car<loc_10><loc_999>')],
  ['an empty text', '', [0, 2]],
  ['ids', [0, 5, 6, 2], [0, 5, 6, 2]],
  ['ids without an end', [0, 5, 6], [0, 5, 6, 2]],
  ['ids as generate returns them', [2, 0, 5, 6, 2], [0, 5, 6, 2]],
  ['no ids', [], [2]],
] as [string, string | number[], number[]][]) {
  test(`the answer can be given as ${what}`, async () => {
    await withoutLeaks(async () => {
      const given = await Question.ask(model, street, '<OCR>', { answer });
      assert.equal(given.answerIds, expected);
      assert.equal(given.decoderIds, [2, ...expected.slice(0, -1)]);
      given.dispose();
    });
  });
}

test('the prompt equals that of `run`', async () => {
  await withoutLeaks(async () => {
    const region = await Question.ask(model, street, '<REGION_TO_OCR>', { box: [0, 0, 768, 512], answer: '' });
    assert.match(model.tokenizer.decode(region.promptIds), /<loc_0><loc_0><loc_999><loc_999>/);
    const own = await Question.ask(model, street, 'How many?', { answer: '' });
    assert.equal(own.promptIds, model.tokenizer.encode('How many?'));
    region.dispose();
    own.dispose();
    const error = await Question.ask(model, street, '<REGION_TO_OCR>').catch(error => error);
    assert.instance(error, UsageError);
  });
});

test("the question is computed without the model's hooks", async () => {
  await withoutLeaks(async () => {
    const hooked = await Question.ask(model.withHooks([['**', x => tf.zerosLike(x)]]), street, '<CAPTION>', free);
    assert.equal(hooked.answerIds, question.answerIds);
    for (const part of ['features', 'memory'] as const) {
      assert.is(difference(await hooked[part].data(), await question[part].data()).maxAbs, 0, part);
    }
    hooked.dispose();
  });
});

for (const from of ['pixels', 'features', 'memory'] as const) {
  for (const rows of [1, 3]) {
    test(`${rows} rows from ${from} have the same logits`, async () => {
      const V = model.config.text.vocabSize;
      await withoutLeaks(async () => {
        const made = forcedLogits(model, question, { rows, from });
        assert.equal(made.shape, [rows, T, V]);
        const values = await read(made);
        for (let row = 0; row < rows; row++) {
          const { relative } = difference(values.subarray(row * T * V, (row + 1) * T * V), clean);
          assert.ok(relative < 1e-5, `row ${row}: ${relative}`);
        }
      });
    });
  }
}

for (const [point, from] of [
  ['vision_tower.hook_pixels', 'pixels'],
  ['vision_tower.convs.0.hook_embed', 'pixels'],
  ['multi_modal_projector.hook_pooled', 'pixels'],
  ['multi_modal_projector.hook_image_features', 'features'],
  ['language_model.encoder.hook_embed', 'features'],
  ['language_model.encoder.layers.1.hook_mlp_out', 'features'],
  ['language_model.decoder.layers.0.encoder_attn.hook_k', 'memory'],
  ['hook_logits', 'memory'],
] as [string, PassStart][]) {
  test(`a pass starts as late as possible, but before a hook at ${point}`, async () => {
    await withoutLeaks(async () => {
      const hooks = [[point, (x: tf.Tensor) => tf.square(x)]] as const;
      const [byDefault, begun] = await starts(() => logits({}, model.withHooks(hooks)));
      assert.is(begun, from);
      const whole = await logits({ from: 'pixels' }, model.withHooks(hooks));
      assert.ok(difference(byDefault, whole).relative < 1e-5);
      assert.ok(difference(byDefault, clean).relative > 1e-4, 'the hook changed nothing');
    });
  });
}

/** Returns where a pass starts, from the parts of the network that it calls. */
async function starts<T>(run: () => Promise<T>): Promise<[T, PassStart]> {
  const network = model.model;
  let begun: PassStart = 'memory';
  const { encodeImage, encodePrompt } = network;
  network.encodePrompt = (...given) => {
    if (begun === 'memory') begun = 'features';
    return encodePrompt.apply(network, given);
  };
  network.encodeImage = (...given) => {
    begun = 'pixels';
    return encodeImage.apply(network, given);
  };
  try {
    return [await run(), begun];
  } finally {
    Object.assign(network, { encodeImage, encodePrompt });
  }
}

test('a pass from the memory runs no earlier hooks', async () => {
  const hooks = [['vision_tower.**', (x: tf.Tensor) => tf.zerosLike(x)]] as const;
  const same = await withoutLeaks(() => logits({ from: 'memory' }, model.withHooks(hooks)));
  assert.ok(difference(same, clean).relative < 1e-5);
});

test('hooks can treat each row differently', async () => {
  await withoutLeaks(async () => {
    const point = 'language_model.decoder.layers.1.hook_mlp_out';
    const ablate = (x: tf.Tensor) => tf.mul(x, tf.tensor([1, 0, 1], [3, 1, 1]));
    const rows = await logits({ rows: 3 }, model.withHooks([[point, ablate]]));
    const alone = await logits({}, model.withHooks([[point, x => tf.zerosLike(x)]]));
    const size = clean.length;
    [clean, alone, clean].forEach((want, row) => {
      assert.ok(difference(rows.subarray(row * size, (row + 1) * size), want).relative < 1e-5, `row ${row}`);
    });
    assert.ok(difference(alone, clean).relative > 1e-2);
  });
});

test('the rows can have other images', async () => {
  await withoutLeaks(async () => {
    const two = tf.tidy(() => tf.concat([question.pixels, tf.zerosLike(question.pixels)])) as tf.Tensor4D;
    const made = await logits({ pixels: two });
    const blank = tf.zerosLike(question.pixels);
    const alone = await logits({ pixels: blank });
    assert.ok(difference(made.subarray(0, clean.length), clean).relative < 1e-5);
    assert.ok(difference(made.subarray(clean.length), alone).relative < 1e-5);
    assert.ok(difference(alone, clean).relative > 1e-3);
    assert.throws(
      () => forcedLogits(model, question, { pixels: two, rows: 3 }),
      /Images \[2,96,96,3\] do not fit 3 rows/,
    );
    assert.throws(() => forcedLogits(model, question, { pixels: two, from: 'memory' }), /from memory/);
    assert.throws(() => forcedLogits(model, question, { rows: 0 }), /rows must be/);
    tf.dispose([two, blank]);
  });
});

test('metrics equal their definitions', async () => {
  await withoutLeaks(async () => {
    const V = model.config.text.vocabSize;
    const made = (metric: ReturnType<typeof logitOf>) =>
      read(tf.tidy(() => metric(forcedLogits(model, question, { rows: 2 }), question)));
    const close = (got: Float32Array, want: number) =>
      got.every(value => Math.abs(value - want) < 1e-4 * Math.abs(want) + 1e-4);
    assert.ok(close(await made(logitOf(1, 700)), clean[V + 700]));
    assert.ok(close(await made(logitDifference(2, 5, 9)), clean[2 * V + 5] - clean[2 * V + 9]));
    const total = question.answerIds.reduce((sum, id, t) => {
      const row = clean.subarray(t * V, (t + 1) * V);
      return sum + row[id] - Math.log(row.reduce((all, x) => all + Math.exp(x), 0));
    }, 0);
    const got = await made(answerLogProb());
    assert.is(got.length, 2);
    assert.ok(close(got, total), `${got}, expected ${total}`);
  });
});

test('an answer is a text or token ids, and empty only where an image may have none', async () => {
  const blank = { data: new Uint8Array(3), width: 1, height: 1 };
  for (const [task, answer, message] of [
    ['<CAPTION>', '', /^The answer to <CAPTION> is empty/],
    ['caption', [], /^The answer to <CAPTION> is empty/],
    ['<OD>', 5, /^answer must be a text or a list of token ids, not 5\.$/],
    ['<OD>', [-1], /^answer must be a text or a list of token ids, not \[-1\]\.$/],
  ] as [string, string, RegExp][]) {
    const error = await Question.ask(model, blank, task, { answer }).catch(error => error);
    assert.instance(error, UsageError);
    assert.match(error.message, message);
  }
  const none = await Question.ask(model, blank, '<OD>', { answer: '' });
  assert.equal(none.answerIds, [0, 2]);
  none.dispose();
});

test('captureForced keeps the requested points; a wrong name is an error with the nearest one', async () => {
  const point = 'language_model.decoder.layers.0.hook_mlp_out';
  await withoutLeaks(() => {
    const cache = captureForced(model, question, [point, 'multi_modal_projector.*']);
    assert.equal(cache.names.slice(-1), [point]);
    assert.is(cache.names.length, 6);
    assert.equal(cache.steps(point), []);
    cache.dispose();
    const empty = captureForced(model, question, []);
    assert.equal(empty.names, []);
    for (const [wrong, message] of [
      ['language_model.decoder.layers.0.hook_mlp', new RegExp(`Did you mean ${point}\\?`)],
      [/layers\.9/, /is named \/layers\\\.9\//],
      [() => false, /matches the given predicate/],
      [[point, 'hook_logit'], /Did you mean hook_logits\?/],
    ] as const) {
      assert.throws(
        () => captureForced(model, question, wrong),
        (error: Error) => error instanceof UsageError && message.test(error.message),
      );
    }
    assert.throws(
      () => captureForced(model, question, 'vision_tower.convs.0.hook_embed', { from: 'memory' }),
      /No hook point of this run/,
    );
  });
});

test('hookPoints lists every point of a pass with its shape, in execution order', async () => {
  await withoutLeaks(async () => {
    const points = await hookPoints(model, street, '<CAPTION>', free);
    const cache = captureForced(model, question, '**', { from: 'pixels' });
    assert.equal(
      points.map(({ name }) => name),
      cache.names,
    );
    for (const { name, shape } of points) assert.equal(shape, cache.shape(name), name);
    assert.equal(points[0], { name: 'vision_tower.hook_pixels', shape: [1, 96, 96, 3] });
    assert.equal(points[1], { name: 'vision_tower.convs.0.hook_embed', shape: [1, 24, 24, 32] });
    assert.equal(points.at(-1), { name: 'hook_logits', shape: [1, T, model.config.text.vocabSize] });
    cache.dispose();
  });
});

test('dispose frees all tensors of a question', async () => {
  const before = tf.memory().numTensors;
  const another = await Question.ask(model, street, '<OD>', free);
  assert.is(tf.memory().numTensors, before + 3);
  another.dispose();
  assert.is(tf.memory().numTensors, before);
});

test.run();
