/** Calls that run at the same time, of one model and of models on two backends, give the same as alone. */
import * as tf from '@tensorflow/tfjs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ActivationCache } from '../src/activations/cache.ts';
import type { Lora } from '../src/adapters/lora.ts';
import { Florence2Error } from '../src/errors.ts';
import { answerOutcomes } from '../src/evaluation/calibrate.ts';
import { Florence2 } from '../src/florence2.ts';
import type { ScopedHook } from '../src/hooks/hooks.ts';
import type { RawImage } from '../src/image/types.ts';
import { collectReport } from '../src/inspect/collect.ts';
import { attention, attentionPoints } from '../src/internals/attention_maps.ts';
import { attributionPatch } from '../src/internals/attribution.ts';
import { FeatureReader } from '../src/internals/feature_reader.ts';
import { captureForced } from '../src/internals/forced_pass.ts';
import { gradientRelevance } from '../src/internals/gradient_relevance.ts';
import { hookPoints } from '../src/internals/hook_points.ts';
import { lastLayerAttribution } from '../src/internals/last_layer.ts';
import { alternatives, logitLens } from '../src/internals/logit_lens.ts';
import { answerLogProb } from '../src/internals/logit_metrics.ts';
import { ablationSweep, patch, patchSweep } from '../src/internals/patching.ts';
import { Question } from '../src/internals/question.ts';
import { encoderRollout, tokenRelevance } from '../src/internals/rollout.ts';
import { gradCam, integratedGradients } from '../src/internals/saliency.ts';
import type { BackendName } from '../src/runtime/backend.ts';
import { testBackend, withoutLeaks } from './backend.ts';
import { numbers } from './nn/naive.ts';
import { dataset, learnerCheckpoint, trainOn } from './training/learner.ts';

// An operation on a tensor of another backend moves it, which reads it synchronously: slow, and impossible on webgpu.
const engine = Object.getPrototypeOf(tf.engine()) as { moveData(): void };
engine.moveData = () => {
  throw new Error('An operation ran on another backend than that of its tensors.');
};

const folder = await learnerCheckpoint();
const otherBackend: BackendName = testBackend === 'wasm' ? 'cpu' : 'wasm';

/** Two adapters: one adds to layers of every part, the other also replaces parameters. */
async function open(backend: BackendName): Promise<Florence2> {
  const model = await Florence2.load(folder, { backend });
  train(model.adapters.create('everywhere', { targets: ['qkv', 'q_proj', 'fc2', 'lm_head'], r: 2 }), 1);
  train(model.adapters.create('biases', { targets: ['fc1'], bias: 'all' }), 100);
  model.adapters.activate();
  return model;
}

/** Fills an adapter with numbers, as if it had been trained. */
function train(lora: Lora, seed: number): void {
  for (const parameter of lora.parameters) {
    if (parameter.name.endsWith('lora_A.weight')) continue;
    parameter.load(numbers(parameter.shape.reduce((n, d) => n * d, 1), seed++, 0.2)); // biome-ignore format: one line
  }
}

const model = await open(testBackend);
const other = await open(otherBackend);

const image = (seed: number): RawImage => ({
  data: new Uint8Array(32 * 32 * 3).map((_, i) => Math.imul(i + 1, 2654435761 + 40503 * seed) >>> 24),
  width: 32,
  height: 32,
});

const short = { maxNewTokens: 4, forcedBosTokenId: null, forcedEosTokenId: null, noRepeatNgramSize: 0 };
const greedy = { ...short, numBeams: 1 };
const decoder = 'language_model.decoder.layers';
const metric = answerLogProb();
/** Hooks in each part of the network. */
const hooks: ScopedHook[] = [
  ['vision_tower.blocks.3.0.channel_block.hook_mlp_out', x => tf.mul(x, -2)],
  ['language_model.encoder.layers.0.hook_attn_out', x => tf.mul(x, 3)],
  [`${decoder}.0.hook_cross_attn_out`, x => tf.mul(x, 4), { step: [1, 2] }],
];

async function contents(cache: ActivationCache): Promise<unknown> {
  const found: Record<string, unknown> = {};
  for (const name of cache.names) {
    const steps = cache.steps(name);
    for (const step of steps.length > 0 ? steps : [undefined]) {
      found[`${name} ${step}`] = (await cache.array(name, { step })).values;
    }
  }
  cache.dispose();
  return found;
}

async function withQuestion<T>(
  model: Florence2,
  image: RawImage,
  body: (question: Question) => Promise<T>,
): Promise<T> {
  const question = await Question.ask(model, image, '<CAPTION>', { answer: 'a red car' });
  return body(question).finally(() => question.dispose());
}

/** Every asynchronous call. Each returns all that it computes. */
const calls: Record<string, (model: Florence2, seed: number) => Promise<unknown>> = {
  run: (model, seed) => model.run(image(seed), '<CAPTION>', short),
  'run, greedy': (model, seed) => model.run(image(seed), '<OD>', greedy),
  'run, without a key/value cache': (model, seed) => model.run(image(seed), '<OCR>', { ...short, useCache: false }),
  'run with an adapter': (model, seed) => model.run(image(seed), '<CAPTION>', { ...short, adapter: 'everywhere' }),
  'run with replaced biases': (model, seed) => model.run(image(seed), '<CAPTION>', { ...greedy, adapter: 'biases' }),
  'run with two adapters': (model, seed) =>
    model.run(image(seed), '<CAPTION>', { ...greedy, adapter: ['biases', 'everywhere'] }),
  'run in tiles': (model, seed) => model.run(image(seed), '<OD>', { ...greedy, tiles: 24 }),
  runBatch: (model, seed) =>
    model.runBatch(
      [
        { image: image(seed), task: '<CAPTION>' },
        { image: image(seed + 1), task: '<CAPTION_TO_PHRASE_GROUNDING>', text: 'a red car' },
      ],
      short,
    ),
  stream: async (model, seed) => {
    const tokens: unknown[] = [];
    for await (const token of model.stream(image(seed), '<CAPTION>', greedy)) tokens.push(token);
    return tokens;
  },
  runWithHooks: (model, seed) => model.runWithHooks(image(seed), '<CAPTION>', hooks, short),
  'runWithHooks with an adapter': (model, seed) =>
    model.runWithHooks(image(seed), '<OD>', hooks, { ...greedy, adapter: 'everywhere' }),
  runWithCache: async (model, seed) => {
    const names = ['**.hook_mlp_out', '**.hook_pattern'];
    const { result, cache } = await model.runWithCache(image(seed), '<CAPTION>', { ...greedy, names });
    return [result, await contents(cache)];
  },
  'runWithCache, beams': async (model, seed) => {
    const options = { ...short, names: 'hook_logits', steps: [0, 2], adapter: 'biases' };
    const { result, cache } = await model.runWithCache(image(seed), '<CAPTION>', options);
    return [result, await contents(cache)];
  },
  'encodeImages and generate': async (model, seed) => {
    const features = await model.encodeImages([image(seed), image(seed + 1)]);
    const sequences = await model.generate(features, ['What is this?', 'What does the image describe?'], short);
    const values = await Promise.all(features.map(({ tensor }) => tensor.data()));
    for (const one of features) one.dispose();
    return [sequences, values];
  },
  hookPoints: (model, seed) => hookPoints(model, image(seed), '<CAPTION>', greedy),
  Question: (model, seed) =>
    withQuestion(model, image(seed), async question => [
      await contents(captureForced(model, question, '**', { from: 'pixels' })),
      await question.memory.data(),
    ]),
  'logitLens, alternatives': (model, seed) =>
    withQuestion(model, image(seed), question =>
      Promise.all([logitLens(model, question), alternatives(model, question)]),
    ),
  lastLayerAttribution: (model, seed) =>
    withQuestion(model, image(seed), question => lastLayerAttribution(model, question)),
  'attributionPatch, gradientRelevance': (model, seed) =>
    withQuestion(model, image(seed), clean =>
      withQuestion(model, image(seed + 1), async corrupted => {
        const plan = { over: 'heads', at: `${decoder}.{layer}.encoder_attn.hook_z` } as const;
        const relevance = await gradientRelevance(model, clean, metric);
        return [relevance, await attributionPatch(model, { clean, corrupted, metric, ...plan })];
      }),
    ),
  'patch, patchSweep': (model, seed) =>
    withQuestion(model, image(seed), clean =>
      withQuestion(model, image(seed + 1), async corrupted => [
        await patch(model, {
          clean,
          corrupted,
          metric,
          at: 'multi_modal_projector.hook_image_features',
          positions: [1],
        }),
        await patchSweep(model, {
          clean,
          corrupted,
          metric,
          over: 'heads',
          at: `${decoder}.{layer}.encoder_attn.hook_z`,
        }),
      ]),
    ),
  ablationSweep: (model, seed) =>
    withQuestion(model, image(seed), question =>
      ablationSweep(model, {
        question,
        metric,
        over: 'positions',
        at: `${decoder}.{layer}.hook_mlp_out`,
        batchSize: 2,
      }),
    ),
  gradCam: (model, seed) => withQuestion(model, image(seed), question => gradCam(model, question, metric)),
  integratedGradients: (model, seed) =>
    withQuestion(model, image(seed), async question => {
      if (model.backend.name === 'wasm') return null; // lacks gradients of convolutions
      return integratedGradients(model, question, metric, { steps: 3, batchSize: 1, onWarning: () => {} });
    }),
  'attention, encoderRollout, tokenRelevance': (model, seed) =>
    withQuestion(model, image(seed), async question => {
      const points = (['cross', 'encoder'] as const).flatMap(kind => attentionPoints(kind));
      const cache = captureForced(model, question, points);
      const maps = [attention(cache, 'cross', 0), encoderRollout(cache), tokenRelevance(cache)];
      return Promise.all(maps).finally(() => cache.dispose());
    }),
  answerOutcomes: async (model, seed) => {
    const targets = [
      { task: '<OD>', answer: { boxes: [] } },
      { task: '<CAPTION>', answer: 'a red car' },
    ];
    const example = { image: image(seed), targets, source: 'one' };
    const outcomes = await answerOutcomes(model, { name: 'one', length: 1, example: () => example }, greedy);
    return [...outcomes];
  },
  FeatureReader: (model, seed) => {
    const reader = new FeatureReader(model, `${decoder}.0.hook_mlp_out`, { task: '<CAPTION>', maxNewTokens: 4 });
    return reader.read([image(seed), image(seed + 1)]);
  },
  collectReport: async (model, seed) => {
    const { model: _, ...report } = await collectReport(model, image(seed), '<CAPTION>', greedy);
    return report;
  },
};

/** Those that consist of several calls, of which the later ones use the adapters that are active then. */
const several =
  /^(encodeImages and generate|Question|logitLens.*|lastLayer.*|att.*|patch.*|ablationSweep|gradCam|integrated.*)$/;

/** Throws unless two results are equal, numbers up to 1e-4 of the larger of 1 and their size. */
function same(got: unknown, want: unknown, where: string): void {
  if (typeof want === 'number' && typeof got === 'number') {
    const near = Object.is(got, want) || Math.abs(got - want) <= 1e-4 * Math.max(1, Math.abs(want));
    assert.ok(near, `${where}: ${got}, alone ${want}`);
  } else if (want && got && typeof want === 'object') {
    assert.equal(Object.keys(got), Object.keys(want), where);
    for (const [key, value] of Object.entries(want))
      same((got as Record<string, unknown>)[key], value, `${where}.${key}`);
  } else {
    assert.is(got, want, where);
  }
}

const names = Object.keys(calls);
/** The result of each call on its own image, of both models, alone. */
const alone = new Map<Florence2, unknown[]>();
for (const one of [model, other]) {
  const results: unknown[] = [];
  for (const [i, name] of names.entries()) results.push(await calls[name](one, i));
  alone.set(one, results);
}

const tasks = (one: Florence2): (() => Promise<unknown>)[] => names.map((name, i) => () => calls[name](one, i));

test('hooks, adapters and images change the answer', async () => {
  const scores: number[] = [];
  for (const one of [model, model.withHooks(hooks), model.withAdapter('everywhere'), model.withAdapter('biases')]) {
    for (const seed of [0, 1]) {
      const features = await one.encodeImage(image(seed));
      const [[{ score }]] = await one.generate([features], ['What does the image describe?'], greedy);
      features.dispose();
      scores.push(score);
    }
  }
  const sorted = scores.sort((a, b) => a - b);
  for (let i = 1; i < sorted.length; i++) assert.ok(sorted[i] - sorted[i - 1] > 1e-3, String(sorted));
});

for (const [i, name] of names.entries()) {
  test(`run beside ${name}`, () =>
    withoutLeaks(async () => {
      const [a, b] = await Promise.all([calls.run(model, 0), calls[name](model, i)]);
      same(a, alone.get(model)![0], 'run');
      same(b, alone.get(model)![i], name);
    }));
}

for (const order of ['first to last', 'last to first']) {
  test(`every call beside every other, started from ${order}`, () =>
    withoutLeaks(async () => {
      const started = tasks(model).map((task, i) => ({ task, i }));
      if (order === 'last to first') started.reverse();
      await Promise.all(
        started.map(async ({ task, i }) => {
          same(await task(), alone.get(model)![i], names[i]);
        }),
      );
    }));
}

test('all calls at once, of models on two backends', () =>
  withoutLeaks(async () => {
    tf.setBackend(otherBackend);
    const [ours, theirs] = await Promise.all([model, other].map(one => Promise.all(tasks(one).map(task => task()))));
    assert.is(tf.getBackend(), otherBackend, 'the active backend is not changed');
    for (const [i, name] of names.entries()) {
      same(ours[i], alone.get(model)![i], `${name} on ${testBackend}`);
      same(theirs[i], alone.get(other)![i], `${name} on ${otherBackend}`);
      // Reports are compressed, so small differences show; wasm lacks the gradients of pixels.
      if (!/^(collectReport|integratedGradients)$/.test(name)) same(theirs[i], ours[i], `${name} on both`);
    }
  }));

test('a model is loaded while others run and load', () =>
  withoutLeaks(async () => {
    const [plain] = alone.get(model)!;
    const load = (backend: BackendName) => Florence2.load(folder, { backend });
    const [a, b, result] = await Promise.all([load(testBackend), load(otherBackend), calls.run(model, 0)]);
    same(result, plain, 'run beside load');
    for (const loaded of [a, b]) {
      same(await calls.run(loaded, 0), plain, `loaded on ${loaded.backend.name}`);
      loaded.dispose();
    }
  }));

for (const [what, change, undo] of [
  ['activate', () => model.adapters.activate('everywhere'), () => model.adapters.activate()],
  ['create', () => model.adapters.create('new', { modulesToSave: ['lm_head'] }), () => model.adapters.remove('new')],
] as [string, () => unknown, () => unknown][]) {
  test(`adapters.${what} affects no call that is running`, () =>
    withoutLeaks(async () => {
      const running = names.map((name, i) => (several.test(name) ? null : calls[name](model, i)));
      change();
      const results = await Promise.all(running);
      undo();
      for (const [i, result] of results.entries()) if (result) same(result, alone.get(model)![i], names[i]);
    }));
}

test('setScale, merge and unmerge affect no call that is running', () =>
  withoutLeaks(async () => {
    const { adapters } = model;
    const [plain, , , adapted] = alone.get(model)!;
    adapters.activate('everywhere');
    const before = calls.run(model, 0);
    adapters.setScale('everywhere', 0);
    const unscaled = calls.run(model, 0);
    adapters.setScale('everywhere', 1);
    const again = calls.run(model, 3);
    adapters.merge();
    const merged = calls.run(model, 3);
    same(await unscaled, plain, 'scale 0');
    for (const result of [again, merged]) same(await result, adapted, 'scale 1');
    adapters.unmerge();
    adapters.activate();
    same(await before, await model.run(image(0), '<CAPTION>', { ...short, adapter: 'everywhere' }), 'before');
  }));

test('a training affects no call without its adapter, and no call affects it', async () => {
  const options = { train: dataset(2), maxSteps: 2, lora: { r: 2 } };
  const trainAlone = await Florence2.load(folder, { backend: testBackend });
  const { losses } = await trainOn(trainAlone, options);
  trainAlone.dispose();
  const learner = await Florence2.load(folder, { backend: testBackend });
  tf.setBackend(otherBackend);
  const training = trainOn(learner, options);
  const plain = { ...short, adapter: null };
  for (let i = 0; i < 3; i++) {
    const [result, hooked] = await Promise.all([
      learner.run(image(0), '<CAPTION>', plain),
      learner.runWithHooks(image(0), '<CAPTION>', hooks, plain),
    ]);
    same(result, alone.get(model)![0], 'run beside training');
    assert.not.equal(hooked, result);
  }
  const { output, losses: measured } = await training;
  same(measured, losses, 'losses');
  tf.setBackend(otherBackend);
  const again = await Florence2.load(folder, { backend: testBackend });
  tf.setBackend(otherBackend);
  const resumed = await trainOn(again, { ...options, maxSteps: 3, epochs: 2, output, resume: true });
  assert.is(resumed.losses.length, 1);
  for (const model of [learner, again]) model.dispose();
});

/** Starts every call, disposes something, and returns what the calls end with. */
async function endings(model: Florence2, dispose: (model: Florence2) => void): Promise<unknown[]> {
  const running = names.map((name, i) => calls[name](model, i).catch((error: unknown) => error));
  await Promise.resolve();
  dispose(model);
  return Promise.all(running);
}

test('calls that run while their model is disposed end with an error, or are done', async () => {
  const { numTensors } = tf.memory();
  const ended = await endings(await open(testBackend), model => model.dispose());
  const codes = ended.map(result => (result instanceof Error ? (result as Florence2Error).code : 'done'));
  for (const [i, code] of codes.entries()) {
    if (code === 'done') same(ended[i], alone.get(model)![i], names[i]);
    else assert.is(code, 'DISPOSED', `${names[i]}: ${(ended[i] as Error).stack}`);
  }
  for (const name of ['run', 'stream', 'runWithCache', 'patch, patchSweep'])
    assert.is(codes[names.indexOf(name)], 'DISPOSED', name);
  assert.is(tf.memory().numTensors, numTensors);
});

test('calls that run while an adapter is removed end with an error if they use it', async () => {
  const disposable = await open(testBackend);
  const ended = await endings(disposable, ({ adapters }) => adapters.remove('everywhere'));
  for (const [i, name] of names.entries()) {
    const result = ended[i];
    if (result instanceof Florence2Error) assert.is(result.code, 'DISPOSED', name);
    assert.is(result instanceof Error, /with an adapter|two adapters/.test(name), `${name}: ${result}`);
    if (!(result instanceof Error)) same(result, alone.get(model)![i], name);
  }
  disposable.dispose();
});

test('a choice of adapters that does not exist is an error', async () => {
  const error = await model.run(image(0), '<CAPTION>', { adapter: 'none' }).catch(error => error);
  assert.match(error.message, /There is no adapter named none\. The adapters are everywhere and biases\./);
});

test.run();
