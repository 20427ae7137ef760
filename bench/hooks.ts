/**
 * Measures the cost of hooks during greedy generation of a caption, with random weights:
 *
 *     npx tsx bench/hooks.ts [--shape base|large|tiny] [--backend NAME] [--rounds N] [--tokens 30]
 *
 * - No hooks: the number of hook calls in a decode step × the time of one such call, relative to the time of the step.
 *   It cannot be measured directly: no model without these calls exists, and their time is far below the noise.
 * - A hook that matches nothing, hooks that may replace activations, and capturing all of cross-attention, each
 *   compared with no hooks, in turns.
 *
 * Writes bench/results/hooks-SHAPE-BACKEND.json.
 */
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { Florence2, type Hooks, noHooks } from '../src/index.ts';
import { type BackendName, useBackend } from '../src/runtime/backend.ts';
import { picture, withRandomCheckpoint } from './inputs.ts';
import { paired } from './paired.ts';
import { Figures, median, writeReport } from './report.ts';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: 'base' },
    backend: { type: 'string', default: 'auto' },
    rounds: { type: 'string', default: '9' },
    tokens: { type: 'string', default: '30' },
  },
});
const tokens = Number(values.tokens);
const cross = '**.encoder_attn.hook_pattern';
const everything = '**.encoder_attn.*';
const figures = new Figures();
const { record } = figures;

/** Returns hooks that do nothing but count the calls. */
function countingHooks(): { hooks: Hooks; count: () => number } {
  let calls = 0;
  const hooks: Hooks = {
    at: (_leaf, activation) => {
      calls++;
      return activation;
    },
    sees: () => {
      calls++;
      return false;
    },
    repeats: () => {
      calls++;
      return false;
    },
    in: () => {
      calls++;
      return hooks;
    },
    seen: () => {
      calls++;
      return hooks;
    },
    block: (_module, forward, ...inputs) => {
      calls++;
      return forward(hooks, ...inputs);
    },
  };
  return { hooks, count: () => calls };
}

/** Returns the number of hook calls of the decoder and the head in a decode step. */
function callsOfStep({ model, config }: Florence2): number {
  const { hooks, count } = countingHooks();
  const states = tf.zeros([1, 4, config.text.dModel]) as tf.Tensor3D;
  const caches = model.languageModel.decoder.newCaches(states, noHooks);
  tf.tidy(() => {
    const embeds = tf.zeros([1, 1, config.text.dModel]) as tf.Tensor3D;
    const inside = hooks.in('language_model.decoder');
    model.lmHead.forward(model.languageModel.decoder.forward(embeds, { states, mask: null }, caches, inside), hooks);
  });
  for (const cache of caches) cache.dispose();
  states.dispose();
  return count();
}

/** Returns the time in nanoseconds of one hook call without hooks, including building its path as blocks do. */
function nanosecondsOfCall(): number {
  const activation = tf.scalar(0);
  const repeats = 1_000_000;
  const times: number[] = [];
  let same = 0;
  for (let round = 0; round < 10; round++) {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) {
      if (noHooks.in(`layers.${i & 7}`).at('hook_z', activation) === activation) same++;
    }
    times.push(((performance.now() - start) * 1e6) / repeats / 2); // two calls
  }
  activation.dispose();
  if (same !== 10 * repeats) throw new Error('A call without hooks changed its activation.');
  return median(times);
}

await withRandomCheckpoint({ shape: values.shape as 'base' }, async folder => {
  const backend = await useBackend(values.backend as BackendName);
  const model = await Florence2.load(folder, { backend: backend.name });
  const image = await model.encodeImage(picture);
  const options = { numBeams: 1, noRepeatNgramSize: 0, maxNewTokens: tokens };
  const run = () => model.run(image, '<CAPTION>', options);
  const capture = async (names: string) => {
    const { cache } = await model.runWithCache(image, '<CAPTION>', { ...options, names });
    cache.dispose();
  };
  const timed = await paired(
    {
      none: run,
      again: run, // shows the noise
      elsewhere: () => model.runWithHooks(image, '<CAPTION>', [['vision_tower.hook_pixels', () => {}]], options),
      replacing: () => model.runWithHooks(image, '<CAPTION>', [[cross, () => {}]], options),
      patterns: () => capture(cross),
      all: () => capture(everything),
    },
    Number(values.rounds),
  );
  const encoding = await paired(
    { first: () => model.run(image, '<CAPTION>', { ...options, maxNewTokens: 1 }) },
    Number(values.rounds),
  );
  const step = (timed.none.ms - encoding.first.ms) / (tokens - 1);
  record(`greedy ms/token, ${tokens} tokens`, step);
  const calls = callsOfStep(model);
  record('hook calls per decode step', calls);
  const each = nanosecondsOfCall();
  record('ns per hook call without hooks', each);
  record('hooks off, % of a decode step', (100 * calls * each) / (step * 1e6));
  const percent = (ratio: number) => 100 * (ratio - 1);
  record('difference of two equal runs, %', percent(timed.again.ratio));
  record('a hook that matches nothing, %', percent(timed.elsewhere.ratio));
  record('hooks that may replace cross-attention patterns, %', percent(timed.replacing.ratio));
  record('capturing all cross-attention patterns, %', percent(timed.patterns.ratio));
  record('capturing every hook point of cross-attention, %', percent(timed.all.ratio));
  image.dispose();
  model.dispose();
  await writeReport(`hooks-${values.shape}-${backend.name}`, {
    rounds: Number(values.rounds),
    figures: figures.values,
  });
});
