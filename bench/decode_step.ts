/**
 * Measures how much our kernels and fp16 weights speed up a decode step on the tensorflow backend (base shape, the
 * first 60 tokens, 587 encoder positions), and how long a step takes later in a long answer:
 *
 *     npx tsx bench/decode_step.ts
 *
 * Random weights, in a checkpoint of fp32 (not exact in fp16, so no fp16 copies are made) and one of fp16. Writes
 * bench/results/decode-step.json.
 */
import * as tf from '@tensorflow/tfjs';
import { Florence2, noHooks } from '../src/index.ts';
import type { Executor } from '../src/model/executor.ts';
import { withRandomCheckpoint } from './inputs.ts';
import { Figures, median, writeReport } from './report.ts';

const STEPS = 60;
/** A long answer: its number of tokens, how often it is generated, and the positions whose steps are reported. */
const LONG = 520;
const TIMES = 9;
const PLACES = [10, 100, 200, 300, 400, 500];
const figures = new Figures();

/** Returns the time in milliseconds of each of `count` decode steps with `rows` rows. */
function timeSteps(executor: Executor, count: number, rows: number, dModel: number): number[] {
  const states = tf.randomNormal([1, 587, dModel], 0, 1, 'float32', 3) as tf.Tensor3D;
  const caches = executor.newCaches(states, noHooks);
  const times: number[] = [];
  for (let step = 0; step < count; step++) {
    const tokens = tf.fill([rows, 1], 100 + step, 'int32') as tf.Tensor2D;
    const start = performance.now();
    const logits = executor.decodeStep(tokens, { states, mask: null }, caches, noHooks);
    times.push(performance.now() - start);
    tf.dispose([tokens, logits]);
  }
  for (const cache of caches) cache.dispose();
  states.dispose();
  return times;
}

for (const dtype of ['F32', 'F16'] as const) {
  await withRandomCheckpoint({ shape: 'base', dtype }, async folder => {
    const { model } = await Florence2.load(folder, { backend: 'tensorflow' });
    const ways = { 'operation by operation': model, 'as one operation': model.executor };
    for (const [way, executor] of Object.entries(ways)) {
      for (const rows of [1, 3]) {
        const times = timeSteps(executor, STEPS, rows, model.config.text.dModel);
        figures.record(`${dtype} weights, ${way}, ${rows} rows: ms per step`, median(times));
      }
    }
    const answers = Array.from({ length: TIMES }, () => timeSteps(model.executor, LONG, 1, model.config.text.dModel));
    for (const place of PLACES) {
      const near = answers.map(times => median(times.slice(place - 5, place + 5)));
      figures.record(`${dtype} weights, 1 row, token ${place}: ms`, median(near));
    }
    model.dispose();
  });
}
await writeReport('decode-step', { steps: STEPS, figures: figures.values });
