/**
 * Times the parts of Florence-2 for one shape on one backend, with random weights:
 *
 *     npm run bench -- [--shape base|large|tiny] [--backend NAME] [--rounds N] [--tokens 50,200] [--batch 1,4]
 *
 * Prints each figure and writes all of them to bench/results/SHAPE-BACKEND.json. Times are medians over the rounds; one
 * warm-up round is not counted. Models with random weights do not end their answers, so each has the maximum length.
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { noHooks } from '../src/hooks/hooks.ts';
import { Florence2, type RunOptions } from '../src/index.ts';
import { type BackendName, useBackend } from '../src/runtime/backend.ts';
import { picture, withRandomCheckpoint } from './inputs.ts';
import { Figures, median, writeReport } from './report.ts';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'base' },
    backend: { type: 'string', default: 'auto' },
    rounds: { type: 'string', default: '3' },
    tokens: { type: 'string', default: '50,200' },
    batch: { type: 'string', default: '1,4' },
  },
});
const rounds = Number(values.rounds);
const lengths = values.tokens.split(',').map(Number);
const batches = values.batch.split(',').map(Number);
const figures = new Figures();
const { record } = figures;

/** Returns the median time of `body` in milliseconds. */
async function time(body: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const start = performance.now();
    await body();
    if (round > 0) times.push(performance.now() - start);
  }
  return median(times);
}

/**
 * Returns milliseconds per new token: the time of a whole answer minus that of its first token, both measured in turns.
 */
async function timeTokens(model: Florence2, tokens: number, batch: number, options: RunOptions): Promise<number> {
  const image = await model.encodeImage(picture);
  const features = Array.from({ length: batch }, () => image);
  const prompts = features.map(() => 'What does the image describe?');
  const decode = async (maxNewTokens: number): Promise<number> => {
    const start = performance.now();
    await model.generate(features, prompts, { maxNewTokens, ...options });
    return performance.now() - start;
  };
  try {
    await decode(tokens);
    const differences: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const prefill = await decode(1);
      differences.push((await decode(tokens)) - prefill);
    }
    return median(differences) / (tokens - 1);
  } finally {
    image.dispose();
  }
}

async function benchVisionAndEncoder(model: Florence2, batch: number): Promise<void> {
  const { width, height } = model.preprocessor;
  const image = { data: new Uint8Array(width * height * 3).map((_, i) => (31 * i) % 251), width, height };
  const vision = async () => {
    const features = await model.encodeImages(Array.from({ length: batch }, () => image));
    await tf.tidy(() => tf.sum(tf.concat(features.map(({ tensor }) => tensor)))).data();
    return features;
  };
  record(
    `vision ms, batch ${batch}`,
    await time(async () => {
      for (const features of await vision()) features.dispose();
    }),
  );
  const images = await vision();
  const features = tf.concat(images.map(({ tensor }) => tensor)) as tf.Tensor3D;
  const ids = tf.fill([batch, 10], 100, 'int32') as tf.Tensor2D;
  record(
    `encoder ms, batch ${batch}`,
    await time(async () => {
      const { states } = model.model.encodePrompt(features, ids, null, noHooks);
      await tf.tidy(() => tf.sum(states)).data();
      states.dispose();
    }),
  );
  tf.dispose([ids, features]);
  for (const each of images) each.dispose();
}

await withRandomCheckpoint({ shape: values.shape as 'base' }, async folder => {
  const backend = await useBackend(values.backend as BackendName);
  const start = performance.now();
  const model = await Florence2.load(folder, { backend: backend.name });
  record('load s', (performance.now() - start) / 1000);
  const weights = [...model.model.parameters.values()].filter(p => p.loaded);
  const bytes = weights.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  record('fp32 weights MB', bytes / 1e6);

  for (const batch of batches) {
    await benchVisionAndEncoder(model, batch);
    for (const tokens of lengths) {
      const greedy = { numBeams: 1, noRepeatNgramSize: 0 };
      record(`greedy ms/token, ${tokens} tokens, batch ${batch}`, await timeTokens(model, tokens, batch, greedy));
      if (batch > 1) continue;
      const uncached = await timeTokens(model, tokens, batch, { ...greedy, useCache: false });
      record(`greedy ms/token, ${tokens} tokens, no cache`, uncached);
    }
    record(`beam 3 ms/step, 50 tokens, batch ${batch}`, await timeTokens(model, 50, batch, { numBeams: 3 }));
    // Distinct objects: the same object twice in a batch would be encoded once.
    const files = Array.from({ length: batch }, () => new URL(picture));
    const requests = files.map(image => ({ image, task: '<CAPTION>' }));
    const toText = () => model.runBatch(requests, { numBeams: 1, maxNewTokens: 50, noRepeatNgramSize: 0 });
    record(`file to 50 tokens s, batch ${batch}`, (await time(toText)) / 1000);
  }
  record('peak RSS MB', process.resourceUsage().maxRSS / 1000);
  model.dispose();

  await writeReport(`${values.shape}-${backend.name}`, {
    shape: values.shape,
    backend,
    rounds,
    figures: figures.values,
  });
});
