import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import sharp from 'sharp';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  answerOutcomes,
  collectDataset,
  Florence2,
  type ImageFeatures,
  Question,
  type RunOptions,
  TASKS,
  type TaskResult,
  UsageError,
} from '../src/index.ts';
import { testBackend, withoutLeaks } from './backend.ts';
import { tinyCheckpoint } from './tiny_checkpoint.ts';
import { temporaryFolder } from './weights/temporary.ts';

const checkpoint = await tinyCheckpoint();
const picture = (name: string) => fileURLToPath(new URL(`../docs/pictures/${name}.jpg`, import.meta.url));
const street = picture('street');
const tiny = { data: new Uint8Array(7 * 3 * 3).map((_, i) => i * 4), width: 7, height: 3 };

const model = await Florence2.load(checkpoint, { backend: testBackend });
const short = { maxNewTokens: 8 };

/** Arguments for tasks of each kind of input. */
const given = { none: {}, text: { text: 'a green car' }, region: { box: [10, 20, 300, 200] } };

/** The fields of a result in addition to the common ones, for each form of answer. */
const fields = {
  text: ['confidence', 'text'],
  boxes: ['boxes'],
  proposals: ['boxes'],
  phrases: ['phrases'],
  polygons: ['instances'],
  'boxes or polygons': ['boxes', 'instances'],
  quads: ['quads'],
};
const common = ['answer', 'imageSize', 'task', 'truncated'];

for (const { task, input, answer } of TASKS) {
  test(`${task} answers in ${answer}`, async () => {
    const options = { ...short, ...given[input], keepMalformed: true };
    const result = await withoutLeaks(() => model.run(street, task, options));
    assert.equal(Object.keys(result).sort(), [...common, ...fields[answer]].sort());
    assert.is(result.task, task);
    assert.equal(result.imageSize, { width: 768, height: 512 });
  });
}

test('constrained answers of every task parse with nothing dropped, and streams are constrained too', async () => {
  await withoutLeaks(async () => {
    const image = await model.encodeImage(street);
    const requests = TASKS.map(({ task, input }) => ({ image, task, ...given[input] }));
    for (const options of [{ numBeams: 1 }, { numBeams: 3 }, { numBeams: 1, doSample: true }]) {
      const how = { ...options, maxNewTokens: 24, constrain: true };
      for (const result of await model.runBatch(requests, how)) {
        assert.not.ok('dropped' in result, `${result.task}: ${result.answer}`);
        if (result.task === '<REGION_PROPOSAL>') assert.ok(result.boxes.length > 0);
      }
      const [words] = await model.runBatch([{ image, task: '<CAPTION>' }], { ...how, constrain: false });
      assert.is((await model.run(image, '<CAPTION>', how)).answer, words.answer);
    }
    const options = { maxNewTokens: 24, numBeams: 1, constrain: { classes: ['car'] } };
    const { answer, boxes } = await model.run(image, '<OD>', options);
    for (const { label } of boxes) assert.is(label, 'car');
    let streamed = '';
    for await (const { text } of model.stream(image, '<OD>', options)) streamed += text;
    assert.is(streamed, answer);
    image.dispose();
  });
});

test('malformed objects are dropped and counted, unless they are kept', async () => {
  const { boxes } = await model.run(street, '<REGION_PROPOSAL>', { ...short, keepMalformed: true });
  const formed = boxes.filter(({ box: [x1, y1, x2, y2] }) => x1 < x2 && y1 < y2);
  assert.ok(formed.length < boxes.length, 'random weights write malformed boxes');
  const result = await model.run(street, '<REGION_PROPOSAL>', short);
  assert.equal([result.boxes, result.dropped], [formed, boxes.length - formed.length]);
});

test('an image that is stored turned is read upright on request, and answered in the stored frame', async () => {
  const options = { ...short, keepMalformed: true };
  const upright = await sharp(street).png().toBuffer();
  const turned = await sharp(upright).rotate(-90).withMetadata({ orientation: 6 }).png().toBuffer();
  const { boxes: expected } = await model.run(upright, '<REGION_PROPOSAL>', options);
  const result = await model.run(turned, '<REGION_PROPOSAL>', { ...options, orientation: 'apply' });
  assert.equal(result.imageSize, { width: 512, height: 768 });
  const [{ box }] = result.boxes;
  const [x1, y1, x2, y2] = expected[0].box;
  // Turned by -90 degrees, the upright (x, y) is stored at (y, 768 - x).
  assert.equal(box, [Math.min(y1, y2), 768 - Math.max(x1, x2), Math.max(y1, y2), 768 - Math.min(x1, x2)]);
  const region = { ...short, box: [10, 20, 300, 200] };
  const { answer } = await model.run(upright, '<REGION_TO_CATEGORY>', region);
  const inStored = { ...short, box: [20, 468, 200, 758], orientation: 'apply' as const };
  assert.is((await model.run(turned, '<REGION_TO_CATEGORY>', inStored)).answer, answer);
});

test('reading an image as stored although it is stored turned gives a warning, unless it is asked for', async () => {
  const turned = await sharp(street).withMetadata({ orientation: 6 }).jpeg().toBuffer();
  const { warn } = console;
  const warnings: string[] = [];
  console.warn = message => warnings.push(message);
  try {
    for (const orientation of ['stored', 'apply', undefined] as const) {
      (await model.encodeImage(turned, { orientation })).dispose();
    }
  } finally {
    console.warn = warn;
  }
  assert.is(warnings.length, 1);
  assert.match(warnings[0], /EXIF orientation 6/);
});

test('a custom prompt is used unchanged', async () => {
  const result = await withoutLeaks(() => model.run(street, 'How many wheels?', short));
  assert.is(result.task, 'prompt');
  const features = await model.encodeImage(street);
  const [[sequence]] = await model.generate([features], ['How many wheels?'], short);
  features.dispose();
  assert.is(
    result.answer,
    model.tokenizer.decode(sequence.ids, { skipSpecialTokens: false }).replace(/<s>|<\/s>/g, ''),
  );
});

test('a batch of images and prompts of different sizes has the results of each request alone', async () => {
  const requests = [
    { image: street, task: '<CAPTION>' },
    { image: tiny, task: '<CAPTION_TO_PHRASE_GROUNDING>', text: 'a long sentence about a car, a house and a tree' },
    { image: street, task: '<OD>' },
    { image: picture('sign'), task: '<REGION_TO_OCR>', box: [10, 10, 400, 300] },
  ];
  const alone: TaskResult[] = [];
  for (const { image, task, ...input } of requests) alone.push(await model.run(image, task, { ...short, ...input }));
  const together = await withoutLeaks(() => model.runBatch(requests, short));
  together.forEach((result, i) => {
    assert.is(result.answer, alone[i].answer, `request ${i}`);
    assert.equal(result.imageSize, alone[i].imageSize);
  });
});

test('encoded features can be used for several tasks', async () => {
  const seen: string[] = [];
  const remove = model.addHook('multi_modal_projector.hook_pooled', (_, { name }) => void seen.push(name));
  await withoutLeaks(async () => {
    const features = await model.encodeImage(street);
    const own = await model.run(features, '<CAPTION>', short);
    await model.run(features, '<OD>', short);
    assert.is(seen.length, 1);
    assert.is(own.answer, (await model.run(street, '<CAPTION>', short)).answer);
    await model.runBatch([{ image: street, task: '<OD>' }, { image: street, task: '<OCR>' }], short); // biome-ignore format: one line
    assert.is(seen.length, 3);
    features.dispose();
  });
  remove();
});

test('a stream yields the tokens and the text of the greedy answer', async () => {
  await withoutLeaks(async () => {
    const features = await model.encodeImage(street);
    const greedy = { ...short, numBeams: 1 };
    const [[whole]] = await model.generate([features], ['What does the image describe?'], greedy);
    const tokens: number[] = [];
    const logProbs: number[] = [];
    let text = '';
    for await (const step of model.stream(features, '<CAPTION>', short)) {
      tokens.push(step.token);
      logProbs.push(step.logProb);
      text += step.text;
    }
    const own = whole.ids.slice(1).map((id, i) => ({ id, logProb: whole.logProbs[i] }));
    const answer = own.filter(({ id }) => !['<s>', '</s>', '<pad>'].includes(model.tokenizer.idToToken(id)!));
    assert.ok(answer.length > 0 && answer.length < own.length, 'the answer has special tokens and others');
    assert.equal(tokens, answer.map(({ id }) => id)); // biome-ignore format: one line
    assert.equal(logProbs, answer.map(({ logProb }) => logProb)); // biome-ignore format: one line
    assert.is(text, (await model.run(features, '<CAPTION>', greedy)).answer);
    features.dispose();
  });
});

test('a stream that is left early leaks no tensors', async () => {
  await withoutLeaks(async () => {
    for await (const _ of model.stream(street, '<CAPTION>', short)) break;
  });
});

test('an AbortSignal stops a run, which throws its reason', async () => {
  for (const after of [0, 2]) {
    const controller = new AbortController();
    const reason = new Error('enough');
    let steps = 0;
    const remove = model.addHook('hook_logits', () => {
      if (steps++ === after) controller.abort(reason);
    });
    if (after === 0) controller.abort(reason);
    await withoutLeaks(async () => {
      const run = model.run(street, '<CAPTION>', { maxNewTokens: 30, signal: controller.signal });
      assert.is(await run.catch(error => error), reason);
    });
    remove();
    assert.ok(steps <= after + 1, `stopped after ${steps} steps`);
  }
});

test('a hook runs at every step of a generation, and the tensor it returns is used', async () => {
  const steps: (number | undefined)[] = [];
  const remove = model.addHook(/decoder\.layers\.0\.hook_resid_pre$/, (x, { step }) => {
    steps.push(step);
    return tf.zerosLike(x);
  });
  const options = { maxNewTokens: 5, numBeams: 1, forcedBosTokenId: null };
  const changed = await withoutLeaks(() => model.run(street, '<CAPTION>', options));
  remove();
  const plain = await model.run(street, '<CAPTION>', options);
  assert.equal(steps, [...steps.keys()]);
  assert.is.not(changed.answer, plain.answer);
});

test('an adapter is saved, loaded under another name, switched, and disposed with the model', async () => {
  const folder = join(temporaryFolder(), 'lora');
  const features = await model.encodeImage(street); // the adapter is only in the language model
  const answer = async (of: Florence2) => (await of.run(features, '<CAPTION>', { ...short, numBeams: 1 })).answer;
  const plain = await answer(model);
  await withoutLeaks(async () => {
    const other = await Florence2.load(checkpoint, { backend: testBackend });
    const { layers } = other.adapters.create('made', { r: 1, seed: 3 });
    for (const { b } of layers.values()) b.load(Float32Array.from({ length: b.shape[0] }, (_, i) => Math.sin(i)));
    await other.adapters.save('made', folder);
    const changed = await answer(other);
    assert.is.not(changed, plain);
    await other.loadAdapter(folder, { name: 'loaded', scale: 0 });
    assert.equal(other.adapters.active, ['loaded']);
    assert.is(await answer(other), plain, 'at scale 0');
    other.adapters.setScale('loaded', 1);
    assert.is(await answer(other), changed, 'as it was saved');
    other.adapters.activate();
    assert.is(await answer(other), plain, 'switched off');
    other.dispose();
  });
  features.dispose();
});

const refused: [what: string, call: (features: ImageFeatures) => Promise<unknown>, message: RegExp][] = [
  ['a region task without a box', f => model.run(f, '<REGION_TO_OCR>' as string), /<REGION_TO_OCR> .*needs a region/],
  ['a text task without a text', f => model.run(f, '<CAPTION_TO_PHRASE_GROUNDING>' as string), /needs a text/],
  ['a text for a task that takes none', f => model.run(f, '<OD>' as string, { text: 'car' }), /takes no text/],
  ['a text with a prompt', f => model.run(f, 'What is this?', { text: 'car' }), /takes no text/],
  [
    'a text with a task token that has one',
    f => model.run(f, '<OPEN_VOCABULARY_DETECTION>car', { text: 'x' }),
    /already/,
  ],
  ['input after a task that takes none', f => model.run(f, '<OD> car'), /<OD> takes no input/],
  ['a prompt that is too long', f => model.run(f, 'word '.repeat(3000)), /The prompt has \d+ tokens and the image 17/],
  ['numBeams 0', f => model.run(f, '<OD>', { numBeams: 0 }), /numBeams must be/],
  [
    'a class without a name',
    f => model.run(f, '<OD>', { constrain: { classes: [''] } }),
    /constrain must be true, false or/,
  ],
  ['beams in a stream', f => model.stream(f, '<OD>', { numBeams: 3 }).next(), /stream has no beams/],
  ['fewer prompts than images', f => model.generate([f], []), /There are 1 images for 0 prompts/],
  ['an image that does not exist', () => model.run('nowhere.png', '<OD>'), /nowhere\.png/],
];
for (const [what, call, message] of refused) {
  test(`error: ${what}`, async () => {
    const features = await model.encodeImage(tiny);
    await withoutLeaks(async () => {
      const error = await call(features).then(
        () => assert.unreachable('no error'),
        error => error,
      );
      assert.match(error.message, message);
      assert.not.match(error.message, /\n/);
    });
    features.dispose();
  });
}

const badLoads: [what: string, options: object, message: RegExp][] = [
  ['an image size with more positions than embeddings', { imageSize: 4096 }, /position embeddings for \d+ per side/],
  ['a fractional image size', { imageSize: 1.5 }, /imageSize must be a whole number/],
];
for (const [what, options, message] of badLoads) {
  test(`error: ${what}`, async () => {
    const error = await withoutLeaks(() =>
      Florence2.load(checkpoint, { backend: testBackend, ...options }).then(
        () => assert.unreachable('no error'),
        error => error,
      ),
    );
    assert.instance(error, UsageError);
    assert.match(error.message, message);
  });
}

test('another image size has another number of features', async () => {
  await withoutLeaks(async () => {
    const larger = await Florence2.load(checkpoint, { backend: testBackend, imageSize: 160 });
    const features = await larger.encodeImage(street);
    assert.equal(features.tensor.shape[1], 1 + 25);
    features.dispose();
    larger.dispose();
  });
});

test('samples are reproduced by their seed, alone and in a batch, and streamed', async () => {
  const options = { maxNewTokens: 12, doSample: true, numBeams: 1, seed: 5, topK: 0 };
  await withoutLeaks(async () => {
    const features = await model.encodeImage(street);
    const alone = await model.run(features, '<CAPTION>', options);
    const requests = ['<CAPTION>', '<OCR>', '<CAPTION>'].map(task => ({ image: features, task }));
    const batch = await model.runBatch(requests, options);
    assert.is(batch[0].answer, alone.answer);
    assert.is(batch[2].answer, alone.answer);
    let streamed = '';
    for await (const { text } of model.stream(features, '<CAPTION>', options)) streamed += text;
    assert.is(streamed, alone.answer);
    assert.is.not((await model.run(features, '<CAPTION>', { ...options, seed: 6 })).answer, alone.answer);
    const prompt = ['What does the image describe?'];
    const [samples] = await model.generate([features], prompt, { ...options, numReturnSequences: 3 });
    assert.is(new Set(samples.map(({ ids }) => ids.join(' '))).size, 3);
    for (const beams of [2, 3]) {
      const sampled = { ...options, numBeams: beams };
      const [one, two] = await model.runBatch([requests[0], requests[1]], sampled);
      assert.is(one.answer, (await model.run(features, '<CAPTION>', sampled)).answer);
      assert.is(two.answer, (await model.run(features, '<OCR>', sampled)).answer);
    }
    features.dispose();
  });
});

test('a checkpoint that asks for sampling does so with seed 0, but calibrations and questions do not', async () => {
  const folder = temporaryFolder();
  await cp(checkpoint, folder, { recursive: true });
  const asked = { num_beams: 1, do_sample: true, temperature: 2, top_k: 0 };
  await writeFile(join(folder, 'generation_config.json'), JSON.stringify(asked));
  await withoutLeaks(async () => {
    const sampling = await Florence2.load(folder, { backend: testBackend });
    const answer = async (options: RunOptions) =>
      (await sampling.run(street, '<CAPTION>', { ...short, ...options })).answer;
    const [sampled, greedy] = [await answer({}), await answer({ doSample: false })];
    assert.is.not(sampled, greedy);
    assert.is(await answer({ seed: 0 }), sampled);
    assert.is.not(await answer({ seed: 1 }), sampled);
    const question = await Question.ask(sampling, street, '<CAPTION>', short);
    const { tokenizer } = sampling;
    assert.is(tokenizer.decode(question.answerIds.filter(id => !tokenizer.isFrame(id))), greedy);
    const dataset = await collectDataset('set', [{ image: street, task: '<CAPTION>', answer: { text: 'a car' } }]);
    const [{ confidence }] = (await answerOutcomes(sampling, dataset, { ...short, doSample: undefined })).get(
      '<CAPTION>',
    )!;
    assert.is(confidence, (await sampling.run(street, '<CAPTION>', { ...short, doSample: false })).confidence);
    question.dispose();
    sampling.dispose();
  });
});

test('end tokens and bad words: an answer ends at the former, is without them, and has none of the latter', async () => {
  await withoutLeaks(async () => {
    const features = await model.encodeImage(street);
    const prompt = ['What does the image describe?'];
    const [[{ ids }]] = await model.generate([features], prompt, { ...short, numBeams: 1 });
    const [, , first, second] = ids; // after </s> and <s>
    assert.is.not(first, second);
    const options = { ...short, eosTokenIds: [model.tokenizer.eosTokenId, second] };
    const result = await model.run(features, '<CAPTION>', { ...options, numBeams: 1 });
    assert.is(result.answer, model.tokenizer.decode([first]));
    assert.is(result.truncated, false);
    let streamed = '';
    for await (const { text } of model.stream(features, '<CAPTION>', options)) streamed += text;
    assert.is(streamed, result.answer);
    for (const numBeams of [1, 3]) {
      const [[banned]] = await model.generate([features], prompt, { ...short, numBeams, badWords: [[first]] });
      assert.not.ok(banned.ids.includes(first));
    }
    features.dispose();
  });
});

test('a calibration replaces confidences and keeps the raw ones', async () => {
  const { confidence: raw } = await model.run(street, '<CAPTION>', short);
  model.calibration = { '<CAPTION>': { raw: [0, 1], calibrated: [0.5, 0.75] } };
  const { confidence, rawConfidence } = await model.run(street, '<CAPTION>', short);
  model.calibration = null;
  assert.is(rawConfidence, raw);
  assert.ok(Math.abs(confidence! - (0.5 + 0.25 * raw!)) < 1e-12);
});

test.after(() => model.dispose());
test.run();
